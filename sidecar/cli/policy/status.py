"""``sidecar policy status``: the policy of every live sidecar, from the ops listener of one of them."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from sidecar.cli.health import fetch
from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import NO, OK, CliError, json_option, plain, print_json, print_table, unavailable, usage_error
from sidecar.cli.policy.policy_source import source_of
from sidecar.config.settings import Settings
from sidecar.policy.generation import content_hash
from sidecar.sources.policy_location import PolicyLocation

INTERVAL = 0.25


@click.command()
@settings_options(["ops_listen", "policy_dir", "model"])
@click.option("--wait", is_flag=True, help="Return when all live sidecars agree, or at the timeout.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds for --wait.")
@click.option("--generation", metavar="ID", help="Required generation: its id, or at least the first 4 digits.")
@click.option("--files", "by_files", is_flag=True, help="Require the generation of the files in --policy-dir.")
@json_option
def status(
    wait: bool, timeout: float, generation: str | None, by_files: bool, as_json: bool, **flags: str | None
) -> int:
    """Print the policy of every live sidecar. Exit status 0 when all agree and none rejects its files.

    1 when they do not, 3 when no sidecar or no store responds. After an edit, --wait alone may return while all still
    agree on the previous policy: add --files or --generation.
    """
    settings = settings_from(flags)
    if generation is not None:
        generation = _id(generation)
    if by_files and generation is not None:
        raise usage_error("give --files or --generation, not both")
    wanted = _generation_of_files(settings) if by_files else generation
    found = _fleet_status(settings, wanted)
    if wait:
        found = until_agreed(lambda: _fleet_status(settings, wanted), found, timeout)
    if isinstance(found, CliError):
        raise found
    if as_json:
        print_json({"agreed": found.agreed, **found.report})
    else:
        _say(found, PolicyLocation(settings.policy_dir, settings.model))
    return OK if found.agreed else NO


def _id(text: str) -> str:
    """Validate the prefix of a generation's id. An empty prefix would match every generation, and a name none."""
    if not re.fullmatch("[0-9a-fA-F]{4,32}", text):
        raise usage_error(
            f'invalid --generation "{text}": give 4 to 32 hex digits, as `sidecar policy status` shows them'
        )
    return text.lower()


def _generation_of_files(settings: Settings) -> str:
    return content_hash(source_of(settings).read().files)


@dataclass(frozen=True, slots=True)
class FleetPolicyStatus:
    """Fleet status as one sidecar reports it. ``why_not``: empty when all agree."""

    report: Mapping[str, Any]
    why_not: str

    @property
    def agreed(self) -> bool:
        return not self.why_not


def _fleet_status(settings: Settings, wanted: str | None) -> FleetPolicyStatus | CliError:
    """Request the status once. Return a Stop when the sidecar or the store does not respond."""
    try:
        code, report = fetch(settings.ops_listen, "/status")
    except CliError as stop:
        return stop
    if code != 200 or "fleet" not in report:
        return unavailable(f"the sidecar at {settings.ops_listen} returned no status ({code})")
    if not report["fleet"]:
        return unavailable("the store does not respond, so the other sidecars are unknown")
    return FleetPolicyStatus(report, _why_not(report, wanted))


def _why_not(report: Mapping[str, Any], wanted: str | None) -> str:
    fleet = report["fleet"]
    if any(member.get("state") != "current" for member in fleet) or report["state"] != "current":
        problem = "the policy files are rejected; the last good policy stays in force"
        return report.get("policy_problem") or problem
    served = {member.get("generation") for member in fleet} | {report["generation"]}
    if len(served) > 1:
        return f"the live sidecars serve {len(served)} generations"
    if wanted is not None and not str(report["generation"]).startswith(wanted):
        return f"they serve {report['generation']}, not {wanted}"
    return ""


def until_agreed(
    look: Callable[[], FleetPolicyStatus | CliError],
    found: FleetPolicyStatus | CliError,
    timeout: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> FleetPolicyStatus | CliError:
    """Poll until all agree, also across restarts. At the timeout, return the last result."""
    end = clock() + timeout
    while (isinstance(found, CliError) or not found.agreed) and clock() < end:
        sleep(INTERVAL)
        found = look()
    return found


def _say(found: FleetPolicyStatus, location: PolicyLocation) -> None:
    rows = [
        (member["id"], member.get("generation"), member.get("state"), member.get("source", "files"))
        for member in found.report["fleet"]
    ]
    print_table(("sidecar", "generation", "state", "source"), rows)
    candidate = found.report.get("candidate")
    if candidate:
        click.echo(f"\ncandidate {candidate['generation']}")
        print_table(("sidecar", "answer", "reason"), [tuple(mark.values()) for mark in candidate["sidecars"]])
        if shadow := candidate.get("shadow"):
            columns = ("role", "section", "action", "from", "to", "times")
            print_table(columns, [[one[name] for name in columns] for one in shadow["changes"]])
            click.echo(f"{shadow['decisions']} decisions in the shadow, {shadow['changed']} would change")
    for one in found.report["diagnostics"]:
        where = f"{location.name_of(one['file'])}:{one['line']}:{one['column']}: {one['code']}"
        hint = f" ({location.text(one['hint'])})" if one["hint"] else ""
        click.echo(plain(f"{where}: {location.text(one['message'])}{hint}"))
    if found.why_not:
        click.echo(plain(f"sidecar: {found.why_not}"), err=True)
