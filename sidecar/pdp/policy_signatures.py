"""Signatures of the policy (R43, R44): of generations of the store, and of ``policy.sig`` beside local files.

Without SIDECAR_POLICY_KEYS nothing is verified. With it, files are served only if a signature holds for their bytes.
Its counter must not be below the floor of the keys file, nor below that of the kept generation.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, path_of
from sidecar.policy.generation import content_hash
from sidecar.policy.transfer.signature import MAX_TEXT, NAME, Manifest, SignatureError, manifest_of, verify
from sidecar.sources.kept_generation import keep_record, kept_record
from sidecar.sources.owner_writable_files import OwnerWritableFileError, read_guarded
from sidecar.sources.policy_files import PolicyFiles
from sidecar.sources.policy_keys import PolicyKeys, PolicyKeysError, read_policy_keys
from sidecar.sources.private_files import PrivateFileError
from sidecar.store.generation_records import GenerationTerms
from sidecar.telemetry.app_log import logger

UNSIGNED = "is not signed, and SIDECAR_POLICY_KEYS is set: sign it with `sidecar policy sign`"

_log = logger("policy")


class SignatureCheck:
    """Verification by the keys of one file. ``path`` None: signatures are not required. Raises PolicyKeysError."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.keys: PolicyKeys | None = None if path is None else read_policy_keys(path)

    def reload(self) -> None:
        """Read the file again. An unusable one leaves the keys in force."""
        if self._path is None:
            return
        try:
            self.keys = read_policy_keys(self._path)
        except PolicyKeysError as problem:
            _log.error("the keys of the policy on disk cannot be used; those in memory stay", problem=str(problem))

    def manifest(self, text: str, files: Mapping[str, bytes]) -> Manifest:
        """Return what the text signs. Raises SignatureError."""
        keys = self.keys or PolicyKeys(())
        if not text:
            raise SignatureError(f"the policy {UNSIGNED}")
        found = verify(text, files, keys.keys)
        if found.counter < keys.min_counter:
            raise SignatureError(
                f"the policy has counter {found.counter}, below min-counter {keys.min_counter} of SIDECAR_POLICY_KEYS"
            )
        return found

    def objection(self, terms: GenerationTerms, files: Mapping[str, bytes]) -> str:
        """Return the reason not to serve a generation of the store; empty if there is none."""
        if self.keys is None:
            return ""
        try:
            signed = self.manifest(terms.signature, files)
        except SignatureError as problem:
            return str(problem)
        if signed.counter != terms.counter:
            return f"its counter {terms.counter} is not {signed.counter}, that of its signature"
        return ""


class FileSignature:
    """``policy.sig`` beside local policy files. ``state_dir`` keeps the counter."""

    def __init__(self, check: SignatureCheck, policy_dir: Path, state_dir: Path | None) -> None:
        self._check = check
        self._path = policy_dir / NAME
        self._state_dir = state_dir
        self._stamp: tuple[int, ...] = ()
        self._taken = ""

    @property
    def required(self) -> bool:
        return self._check.keys is not None

    def reload(self) -> None:
        self._check.reload()

    def is_unchanged(self) -> bool:
        """Return whether the signature on disk is the one that `checked` has read."""
        return not self.required or self._stamp == self._stamp_now()

    def checked(self, read: PolicyFiles) -> PolicyFiles:
        """Return the files with an error if their signature does not hold. Its bytes are part of the fingerprint."""
        if not self.required:
            return read
        self._stamp = self._stamp_now()
        text, problem = self._read()
        if not problem:
            problem = self.objection(text, read.files)
        fingerprint = hashlib.sha256(f"{read.fingerprint}\n{text}\n{problem}".encode()).hexdigest()
        found = (*read.diagnostics, _error(problem)) if problem else read.diagnostics
        return replace(read, diagnostics=found, fingerprint=fingerprint)

    def objection(self, text: str, files: Mapping[str, bytes]) -> str:
        """Return the reason not to serve files with this signature; empty if there is none (R43, R44)."""
        if not self.required:
            return ""
        try:
            counter = self._check.manifest(text, files).counter
        except SignatureError as problem:
            return str(problem)
        kept = self._kept()
        floor = kept_counter(kept)
        if counter < floor or (counter == floor and kept.get("id") != content_hash(files)):
            return f"the policy has counter {counter}, and one with {floor} was in force: sign it with a higher counter"
        return ""

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Keep signature and counter of files that came into force. Raises OSError."""
        text = self.text_of(files)
        if not text or self._state_dir is None:
            return  # the files on disk have changed since
        counter = str(manifest_of(text, files).counter)
        keep_record(self._state_dir, {"id": content_hash(files), "counter": counter, "signature": text})

    def take(self, text: str, files: Mapping[str, bytes]) -> str:
        """Remember the signature of files of the store. Return the reason not to serve them; empty if there is none."""
        problem = self.objection(text, files)
        if not problem:
            self._taken = text
        return problem

    def text_of(self, files: Mapping[str, bytes]) -> str | None:
        """Return the signature that holds for the files; empty if none is required, None without one."""
        if not self.required:
            return ""
        for text in (self._read()[0], self._taken, self._kept().get("signature", "")):
            if not self.objection(text, files):
                return text
        return None

    def objection_to_kept(self, files: Mapping[str, bytes]) -> str:
        """Return the reason not to serve the kept files; empty if there is none."""
        if not self.required:
            return ""
        try:
            self._check.manifest(self._kept().get("signature", ""), files)
        except SignatureError as problem:
            return str(problem)
        return ""

    def _kept(self) -> Mapping[str, str]:
        try:
            return (kept_record(self._state_dir) if self._state_dir else None) or {}
        except (OSError, PrivateFileError) as problem:
            _log.error("the kept counter of the policy is unusable", error=str(problem))
            return {}

    def _read(self) -> tuple[str, str]:
        """Return the text and a problem. An absent file is an empty text."""
        try:
            return read_signature(self._path.parent), ""
        except SignatureError as problem:
            return "", str(problem)

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def read_signature(policy_dir: Path) -> str:
    """Return the text of ``policy.sig``; empty without the file. Raises SignatureError for an unusable file."""
    path = policy_dir / NAME
    if not path.exists():
        return ""
    try:
        return read_guarded(path, limit=MAX_TEXT).decode("ascii", "replace")
    except OwnerWritableFileError as problem:
        raise SignatureError(str(problem)) from None


def kept_counter(kept: Mapping[str, str]) -> int:
    """Return the counter of a kept record; 0 without one."""
    text = kept.get("counter", "")
    return int(text) if text.isdecimal() else 0


def _error(problem: str) -> Diagnostic:
    code = DiagnosticCode.SIGNATURE
    return Diagnostic(code.severity, code, path_of("policy.csv"), 1, 1, problem, "sidecar policy sign")
