"""R51: two sidecars that run with the least rights, and lose one of them in the middle of a change."""

from collections.abc import Awaitable, Callable

import pytest
import redis

from tests.chaos.rig import RedisServer
from tests.chaos.test_store_losses import UNAVAILABLE, Scene, all_are, stage
from tests.live.support import eventually
from tests.store.test_acl_permissions import LINE

__all__ = ["stage"]

pytestmark = pytest.mark.slow

ALLOWED, DENIED = (200, "allowed"), (403, "no_rule")


@pytest.mark.parametrize("right", ["xadd", "hset", "incr", "srem", "hincrby"])
async def test_R51_a_right_lost_in_a_change_leaves_no_stale_response(
    stage: Callable[..., Awaitable[Scene]], redis_server: Callable[..., RedisServer], right: str
) -> None:
    here = redis_server()
    with here.client() as admin:
        admin.execute_command("ACL", "SETUSER", "sidecar", "reset", "on", ">s3cret", "~sc:*", "resetchannels", *LINE)
        scene = await stage(here.url.replace("redis://", "redis://sidecar:s3cret@"), here)
        assert [one for one in admin.acl_log() if "client" not in str(one["object"])] == []

        admin.execute_command("ACL", "SETUSER", "sidecar", f"-{right}")
        refused = await scene.change_role("marketer")
        assert (refused.status, refused.body["code"]) == (503, "store_unavailable")
        assert not refused.body.get("revocation", {}).get("complete", False)
        (home,) = admin.keys(f"sc:*:u:{scene.bob.id}")
        truth = _truth(admin, home)
        assert set(await scene.answers(scene.bob)) <= {truth, UNAVAILABLE}

        admin.execute_command("ACL", "SETUSER", "sidecar", f"+{right}")
        await eventually(lambda: all_are(scene, truth))
        again = await scene.change_role("marketer")
        assert again.status == 200, again.body
        await eventually(lambda: all_are(scene, DENIED))
        assert admin.hget(home, "role") == "marketer"


def _truth(admin: "redis.Redis", home: str) -> tuple[int, str]:
    return ALLOWED if admin.hget(home, "role") == "accountant" else DENIED
