"""Features of the server, as an editor uses them: each through pytest-lsp, on buffers that are not saved."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import LanguageClient

from sidecar.policy.compiler import ProofScope, compile_policy
from tests.lsp.support import path_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Editor:
    """Buffers of one client, and requests at a word of them."""

    def __init__(self, client: LanguageClient, root: Path, seed: Mapping[str, bytes]) -> None:
        self.client, self.root = client, root
        self.texts = {name: data.decode() for name, data in seed.items()}
        self.opened: set[str] = set()

    def uri(self, name: str) -> str:
        return path_in(self.root, name).as_uri()

    def document(self, name: str) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri(name))

    def write(self, name: str, text: str) -> None:
        """Type a text into a buffer."""
        self.texts[name] = text
        if name in self.opened:
            document = types.VersionedTextDocumentIdentifier(2, self.uri(name))
            change = types.TextDocumentContentChangeWholeDocument(text)
            self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
            return
        self.opened.add(name)
        item = types.TextDocumentItem(self.uri(name), "csv", 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def add(self, name: str, text: str) -> None:
        self.write(name, self.texts[name] + text)

    def at(self, name: str, word: str, nth: int = -1) -> types.Position:
        """Return the position one character into a word of the buffer; -1 is its last place."""
        offset = -1
        text = self.texts[name]
        offset = text.rindex(word) if nth == -1 else [i for i in range(len(text)) if text.startswith(word, i)][nth]
        before = text[: offset + 1]
        return types.Position(before.count("\n"), len(before) - before.rfind("\n") - 1)

    def end(self, name: str) -> types.Position:
        lines = self.texts[name].split("\n")
        return types.Position(len(lines) - 1, len(lines[-1]))

    async def words(self, name: str, text: str) -> list[str]:
        """Return the completions at the end of a text that is added to a buffer."""
        self.add(name, text)
        params = types.CompletionParams(self.document(name), self.end(name))
        found = await self.client.text_document_completion_async(params)
        assert isinstance(found, types.CompletionList)
        return [item.label for item in found.items]

    async def hover(self, name: str, word: str, nth: int = -1) -> str:
        params = types.HoverParams(self.document(name), self.at(name, word, nth))
        found = await self.client.text_document_hover_async(params)
        assert found is not None
        assert isinstance(found.contents, types.MarkupContent)
        return found.contents.value

    async def rename(self, name: str, word: str, new: str) -> None:
        params = types.RenameParams(self.document(name), self.at(name, word), new)
        edit = await self.client.text_document_rename_async(params)
        assert edit is not None
        self.apply(edit)

    def apply(self, edit: types.WorkspaceEdit) -> None:
        """Apply an edit to the buffers, as an editor does."""
        for uri, edits in (edit.changes or {}).items():
            name = Path(uri).name
            self.write(name, applied(self.texts[name], edits))

    def errors(self) -> list[str]:
        found = compile_policy({name: text.encode() for name, text in self.texts.items()}, proof=ProofScope.NONE)
        return [str(one) for one in found.diagnostics if one.is_error]

    async def close(self) -> None:
        for name in self.opened:
            self.client.text_document_did_close(types.DidCloseTextDocumentParams(self.document(name)))


def applied(text: str, edits: Sequence[types.TextEdit]) -> str:
    lines = text.split("\n")
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines) + 1)]

    def offset(position: types.Position) -> int:
        return min(starts[position.line] + position.character, len(text))

    for edit in sorted(edits, key=lambda one: (one.range.start.line, one.range.start.character), reverse=True):
        text = text[: offset(edit.range.start)] + edit.new_text + text[offset(edit.range.end) :]
    return text


@pytest_asyncio.fixture(loop_scope="module")
async def editor(client: LanguageClient, open_root: Path, seed: Mapping[str, bytes]) -> AsyncIterator[Editor]:
    opened = Editor(client, open_root, seed)
    yield opened
    await opened.close()


# -- completion --------------------------------------------------------------------------------------------------------


ROLES = ["account-administrator", "accountant", "developer", "marketer", "member"]
EFFECTS = ["allow", "deny"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("policy.csv", "", ["p", "g"]),
        ("policy.csv", "p, ", ROLES),
        ("policy.csv", "p, mar", ROLES),
        ("policy.csv", "g, marketer, ", ROLES),
        ("policy.csv", "g, marketer, member, ", []),
        ("policy.csv", "p, marketer, billing, ", ["view", "change-plan", "*"]),
        ("policy.csv", 'p, marketer, "billing", ', ["view", "change-plan", "*"]),
        ("policy.csv", "p, marketer, billing, view, ", EFFECTS),
        ("policy.csv", "p, marketer, billing, view, allow, ", []),
        ("policy.csv", "# p, ", []),
        ("expectations.csv", "", EFFECTS),
        ("expectations.csv", "deny, ", ROLES),
        ("expectations.csv", "deny, marketer, billing, view, ", ["without"]),
        ("needs.csv", "", ["needs"]),
        ("needs.csv", "needs, ", [*ROLES, "*"]),
        ("routes.csv", "public, ", METHODS),
        ("model.conf", "[match", ["[request_definition]", "[policy_definition]", "[role_definition]"]),
        ("roles.toml", "[roles.x]\nass", ["title", "description", "assignable"]),
        ("roles.toml", "[roles.x]\nassignable = ", ["true", "false"]),
        ("sections.toml", "[sections.x]\n", ["title", "actions", "action_titles", "routes"]),
        ("sections.toml", '[sections.billing]\nroutes = [{ path = "/a", action = "', ["view", "change-plan"]),
        ("sections.toml", '[sections.billing]\nroutes = [{ path = "/a", methods = ["', METHODS),
        ("sections.toml", "[sections.billing]\nroutes = [{ ", ["path", "methods", "action"]),
        ("conditions.toml", "[conditions.x]\n", ["title", "second_factor", "methods", "signed_in_within", "networks"]),
        ("conditions.toml", '[conditions.x]\nmethods = ["', ["password", "totp", "passkey"]),
        ("conditions.toml", "[conditions.x]\nhours = { ", ["days", "from", "to", "zone"]),
    ],
)
async def test_completion_knows_what_may_follow(editor: Editor, name: str, text: str, words: list[str]) -> None:
    found = await editor.words(name, text)
    assert found[: len(words)] == words
    assert bool(found) is bool(words)


async def test_completion_has_sections_and_targets(editor: Editor) -> None:
    assert {"billing", "media-library", "*"} <= set(await editor.words("policy.csv", "p, marketer, "))
    assert {"billing/change-plan", "public", "unmatched"} <= set(await editor.words("routes.csv", "bill"))
    assert "/dashboard/billing/**" in await editor.words("routes.csv", "ing/view, GET, ")


async def test_completion_has_conditions_that_are_only_typed(editor: Editor) -> None:
    editor.add(
        "conditions.toml", '[conditions.office]\nnetworks = ["10.0.0.0/8"]\n[conditions.key]\nmethods = ["passkey"]\n'
    )
    assert await editor.words("needs.csv", "needs, *, billing, view, ") == ["office", "key"]
    assert await editor.words("needs.csv", "office | ") == ["key"]
    assert await editor.words("expectations.csv", "deny, marketer, billing, view, without ") == ["office", "key"]


async def test_a_completion_replaces_the_whole_word(editor: Editor) -> None:
    editor.add("policy.csv", "p, marketeer, billing, view, allow\n")
    position = editor.at("policy.csv", "eer, billing")
    params = types.CompletionParams(editor.document("policy.csv"), position)
    found = await editor.client.text_document_completion_async(params)
    assert isinstance(found, types.CompletionList)
    item = next(one for one in found.items if one.label == "marketer")
    assert isinstance(item.text_edit, types.TextEdit)
    assert applied(editor.texts["policy.csv"], [item.text_edit]).endswith("p, marketer, billing, view, allow\n")
    assert item.detail == "role: Marketer"


# -- hover, definition, references -------------------------------------------------------------------------------------


async def test_hover_on_a_role_says_what_it_may_and_from_where(editor: Editor) -> None:
    editor.write("policy.csv", editor.texts["policy.csv"])
    text = await editor.hover("policy.csv", "marketer")
    assert "**Marketer** (role `marketer`)" in text
    assert "inherits `member`" in text
    assert "| `media-library/upload` | `policy/policy.csv:27` |" in text
    assert "billing" not in text


async def test_hover_on_a_section_says_who_may_what(editor: Editor) -> None:
    editor.add("policy.csv", "p, marketer, billing, view, allow\n")
    text = await editor.hover("policy.csv", "billing")
    assert "**Billing** (section `billing`)" in text
    assert "| `marketer: view` | `policy/policy.csv:36` |" in text
    assert "| `accountant: change-plan` | `policy/policy.csv:15` |" in text
    assert "`GET /dashboard/billing/**`" in text


async def test_hover_on_an_action_says_who_may(editor: Editor) -> None:
    editor.write("sections.toml", editor.texts["sections.toml"])
    text = await editor.hover("sections.toml", "change-plan", 1)
    assert "action `billing/change-plan`" in text
    assert "| `accountant` |" in text
    assert "marketer" not in text


async def test_hover_names_the_needs_of_a_cell(editor: Editor) -> None:
    editor.add("conditions.toml", '[conditions.key]\nmethods = ["passkey"]\n')
    editor.add("needs.csv", "needs, accountant, billing, view, key\n")
    assert "needs key (policy/needs.csv:11)" in await editor.hover("needs.csv", "billing")
    assert "needs, accountant, billing, view, key" in await editor.hover("conditions.toml", "key]")


async def test_a_title_cannot_become_markup(editor: Editor) -> None:
    editor.write("roles.toml", editor.texts["roles.toml"].replace('"Marketer"', '"![x](http://a) <b>|`"'))
    text = await editor.hover("roles.toml", "marketer")
    assert text.startswith(r"**\!\[x\]\(http://a\) \<b\>\|\`** (role")


async def locations(editor: Editor, method: str, name: str, word: str, nth: int = -1) -> list[tuple[str, int]]:
    position = {"textDocument": {"uri": editor.uri(name)}, "position": editor.at(name, word, nth)}
    if method == "definition":
        params = types.DefinitionParams(editor.document(name), position["position"])
        found = await editor.client.text_document_definition_async(params)
    else:
        context = types.ReferenceContext(include_declaration=True)
        params = types.ReferenceParams(context, editor.document(name), position["position"])
        found = await editor.client.text_document_references_async(params)
    assert found is not None
    return [
        (Path(one.uri).name, one.range.start.line + 1)
        for one in (found if isinstance(found, Sequence) else [found])
        if isinstance(one, types.Location)
    ]


async def test_definitions_are_across_files(editor: Editor) -> None:
    editor.add("policy.csv", "p, marketer, billing, change-plan, allow\n")
    assert await locations(editor, "definition", "policy.csv", "marketer") == [("roles.toml", 17)]
    assert await locations(editor, "definition", "policy.csv", "billing") == [("sections.toml", 25)]
    assert await locations(editor, "definition", "policy.csv", "change-plan") == [("sections.toml", 27)]
    editor.write("routes.csv", editor.texts["routes.csv"])
    assert await locations(editor, "definition", "routes.csv", "change-plan") == [("sections.toml", 27)]


async def test_references_are_in_all_files(editor: Editor) -> None:
    editor.write("roles.toml", editor.texts["roles.toml"])
    found = await locations(editor, "references", "roles.toml", "marketer")
    assert {name for name, _ in found} == {"roles.toml", "policy.csv", "expectations.csv"}
    assert ("policy.csv", 27) in found
    assert len([one for one in found if one[0] == "expectations.csv"]) == 22


async def test_highlights_are_of_one_file(editor: Editor) -> None:
    editor.write("policy.csv", editor.texts["policy.csv"])
    params = types.DocumentHighlightParams(editor.document("policy.csv"), editor.at("policy.csv", "member"))
    found = await editor.client.text_document_document_highlight_async(params)
    assert found is not None
    assert len(found) == 5


# -- rename ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word", "new"),
    [
        ("policy.csv", "marketer", "seller"),
        ("policy.csv", "media-library", "assets"),
        ("expectations.csv", "change-plan", "switch"),
        ("sections.toml", "media-library]", "assets"),
    ],
)
async def test_a_rename_edits_all_files_and_no_answer(editor: Editor, name: str, word: str, new: str) -> None:
    editor.write(name, editor.texts[name])
    comments = [line for text in editor.texts.values() for line in text.split("\n") if line.startswith("#")]
    await editor.rename(name, word, new)
    assert editor.errors() == []
    assert any(new in text for text in editor.texts.values())
    assert [line for text in editor.texts.values() for line in text.split("\n") if line.startswith("#")] == comments


async def test_a_condition_is_renamed_in_needs_and_tests(editor: Editor) -> None:
    editor.add("conditions.toml", '[conditions.key]\nmethods = ["passkey"]\n')
    editor.add("needs.csv", "needs, accountant, billing, view, key\n")
    editor.add("expectations.csv", "deny, accountant, billing, view, without key\n")
    await editor.rename("needs.csv", "key", "passkey-only")
    assert editor.errors() == []
    assert editor.texts["expectations.csv"].endswith("without passkey-only\n")


@pytest.mark.parametrize(
    ("word", "new", "reason"),
    [
        ("marketer", "developer", "exists already"),
        ("marketer", "Seller", "not a valid role id"),
        ("marketer", "deve1oper", "looks like the role"),
        ("member", "everyone", "the sidecar itself uses"),
        ("account-administrator", "root", "the sidecar itself uses"),
        ("account-settings", "mine", "the sidecar itself uses"),
        ("view", "see", "an action of 12 sections"),
    ],
)
async def test_a_rename_that_would_break_is_refused(editor: Editor, word: str, new: str, reason: str) -> None:
    editor.add("policy.csv", "p, developer, *, view, allow\n")
    with pytest.raises(JsonRpcException, match=reason):
        await editor.rename("policy.csv", word, new)


async def test_a_rename_in_files_with_errors_is_refused(editor: Editor) -> None:
    editor.add("policy.csv", "p, developer, billing, view\n")
    with pytest.raises(JsonRpcException, match=r"policy/policy\.csv:36: field-count: .*: correct them first"):
        await editor.rename("policy.csv", "marketer", "seller")
    params = types.PrepareRenameParams(editor.document("policy.csv"), editor.at("policy.csv", "marketer"))
    with pytest.raises(JsonRpcException, match="correct them first"):
        await editor.client.text_document_prepare_rename_async(params)


async def test_a_rename_of_a_role_says_when_it_comes_into_force(editor: Editor) -> None:
    editor.write("policy.csv", editor.texts["policy.csv"])
    editor.client.messages.clear()
    await editor.rename("policy.csv", "marketer", "seller")
    assert 'no user has the role "marketer"' in editor.client.messages[-1].message


async def test_a_place_without_a_name_cannot_be_renamed(editor: Editor) -> None:
    editor.write("policy.csv", editor.texts["policy.csv"])
    params = types.PrepareRenameParams(editor.document("policy.csv"), types.Position(0, 2))
    assert await editor.client.text_document_prepare_rename_async(params) is None


# -- symbols, hints, lenses --------------------------------------------------------------------------------------------


async def symbols(editor: Editor, name: str) -> dict[str, list[str]]:
    editor.write(name, editor.texts[name])
    params = types.DocumentSymbolParams(editor.document(name))
    found = await editor.client.text_document_document_symbol_async(params)
    assert found is not None
    return {one.name: [child.name for child in getattr(one, "children", None) or ()] for one in found}


async def test_symbols_are_declarations_and_blocks(editor: Editor) -> None:
    assert list(await symbols(editor, "roles.toml")) == ROLES
    assert (await symbols(editor, "sections.toml"))["billing"] == ["view", "change-plan"]
    rules = await symbols(editor, "policy.csv")
    assert rules["marketer"] == [
        "p, marketer,              media-library,      *, allow",
        "g, marketer,              member",
    ]
    assert len((await symbols(editor, "routes.csv"))["billing"]) == 6
    assert "matchers" in await symbols(editor, "model.conf")


async def hints(editor: Editor, name: str) -> dict[int, str]:
    params = types.InlayHintParams(editor.document(name), types.Range(types.Position(0, 0), types.Position(999, 0)))
    found = await editor.client.text_document_inlay_hint_async(params)
    return {one.position.line + 1: str(one.label) for one in found or ()}


async def test_each_rule_has_a_hint_of_its_effect(editor: Editor) -> None:
    editor.add("policy.csv", "p, accountant, billing, view, allow\np, developer, audit, view, deny\n")
    found = await hints(editor, "policy.csv")
    assert found[15] == "decides 2 cells, 1 of them alone"
    assert found[36] == "decides nothing"
    assert found[37] == "decides 1 cell, not alone"
    assert found[14] == "decides 1 cell, alone"
    assert len(found) == 18


async def test_each_need_has_a_hint_of_its_effect(editor: Editor) -> None:
    editor.add("conditions.toml", '[conditions.key]\nmethods = ["passkey"]\n')
    editor.add("needs.csv", "needs, accountant, billing, *, key\n")
    editor.add("expectations.csv", "deny, accountant, billing, view, without key\n")
    assert await hints(editor, "needs.csv") == {11: "applies to 2 cells, decides 1 row of expectations.csv"}


async def lens(editor: Editor, name: str) -> list[str]:
    found = await editor.client.text_document_code_lens_async(types.CodeLensParams(editor.document(name)))
    return [one.command.title for one in found or () if one.command is not None]


async def test_a_lens_counts_the_answers_that_an_edit_changes(editor: Editor) -> None:
    editor.write("policy.csv", editor.texts["policy.csv"])
    assert await lens(editor, "policy.csv") == []
    editor.add("policy.csv", "p, accountant, users, view, allow\np, marketer, media-library, upload, deny\n")
    assert await lens(editor, "policy.csv") == ["2 answers change, 1 opens: accountant users/view"]
    editor.write("roles.toml", editor.texts["roles.toml"])
    assert await lens(editor, "roles.toml") == ["2 answers change, 1 opens: accountant users/view"]


async def test_a_lens_names_closed_cells_and_routes(editor: Editor) -> None:
    editor.add("policy.csv", "p, marketer, media-library, view, deny\n")
    assert await lens(editor, "policy.csv") == ["1 answer changes, none opens: marketer media-library/view"]
    editor.write("policy.csv", editor.texts["policy.csv"].rpartition("p, marketer")[0])
    editor.add("sections.toml", '[[public]]\npath = "/free"\nmethods = ["GET"]\n')
    assert await lens(editor, "sections.toml") == ["1 answer changes, 1 opens: GET /free (unmatched → public)"]


async def test_a_lens_compares_with_the_last_good_files(editor: Editor, open_root: Path) -> None:
    editor.add("policy.csv", "p, accountant, users, view, allow\n")
    assert await lens(editor, "policy.csv") == ["1 answer changes, 1 opens: accountant users/view"]
    path, good = path_in(open_root, "roles.toml"), path_in(open_root, "roles.toml").read_bytes()
    editor.write("roles.toml", good.decode())
    path.write_bytes(b"[roles")
    try:
        assert await lens(editor, "policy.csv") == ["1 answer changes, 1 opens: accountant users/view"]
    finally:
        path.write_bytes(good)


# -- quick fixes -------------------------------------------------------------------------------------------------------


async def actions(editor: Editor, name: str, only: list[str] | None = None) -> list[types.CodeAction]:
    span = types.Range(types.Position(0, 0), types.Position(9_999, 0))
    context = types.CodeActionContext(diagnostics=[], only=only)
    params = types.CodeActionParams(editor.document(name), span, context)
    found = await editor.client.text_document_code_action_async(params)
    return [one for one in found or () if isinstance(one, types.CodeAction)]


async def test_a_quick_fix_carries_its_edit_and_its_finding(editor: Editor) -> None:
    editor.add("policy.csv", "p, marketer, bilIing, view, allow\n")
    (fix,) = await actions(editor, "policy.csv")
    assert fix.title == 'Write "billing"'
    assert fix.is_preferred
    assert fix.command is None
    assert fix.diagnostics is not None
    assert fix.diagnostics[0].code == "unknown-section"
    assert fix.edit is not None
    editor.apply(fix.edit)
    assert editor.texts["policy.csv"].endswith("p, marketer, billing, view, allow\n")


async def test_the_missing_expectations_are_written_for_all_files(editor: Editor) -> None:
    editor.add("sections.toml", '[sections.x]\ntitle = "X"\nactions = ["view"]\n')
    editor.add("sections.toml", 'routes = [{ path = "/x", methods = ["GET"], action = "view" }]\n')
    editor.write("expectations.csv", editor.texts["expectations.csv"])
    for only in (None, ["source"], ["quickfix"]):
        titles = [one.title for one in await actions(editor, "expectations.csv", only)]
        assert titles.count("Write the missing expectations") == 1
    action = (await actions(editor, "sections.toml", ["source.writeMissingExpectations"]))[0]
    assert action.edit is not None
    editor.apply(action.edit)
    assert editor.errors() == []
    assert editor.texts["expectations.csv"].count("# review\n") >= 1
    assert {one.title for one in await actions(editor, "expectations.csv")} == {'Delete the line "# review"'}


async def test_a_fix_of_another_kind_is_not_offered(editor: Editor) -> None:
    editor.add("policy.csv", "p, marketer, bilIing, view, allow\n")
    assert await actions(editor, "policy.csv", ["refactor"]) == []
