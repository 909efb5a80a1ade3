"""Setup's accounts: asks for what is missing, and keeps only what the service accepts."""

from __future__ import annotations

from gpuctl.errors import UsageError
from gpuctl.services.credentials import ACCOUNTS, Account, Verdict, check
from gpuctl.services.findings import Finding, fail, ok, skipped, warn
from gpuctl.services.setup_steps import Progress

TRIES = 3


def all_accounts(progress: Progress) -> None:
    for account in ACCOUNTS:
        if account.name in progress.wishes.skip:
            progress.add(skipped(account.name, "left out (--skip)"))
        else:
            one_account(progress, account)


def missing_flags(progress: Progress) -> list[str]:
    """The flags of what cannot be done without, and is neither configured nor given."""
    return [
        question.flag
        for account in ACCOUNTS
        if account.is_required and account.name not in progress.wishes.skip
        for question in account.questions
        if not progress.values.text(question.key)
    ]


def one_account(progress: Progress, account: Account) -> None:
    for attempt in range(1, TRIES + 1):
        progress.place.report.step(f"checking {account.title}")
        verdict = check(account, progress.values, progress.place.timeout_s)
        if verdict.answer in ("ok", "unreachable") or not progress.may_ask:
            break
        if verdict.answer == "refused":
            progress.place.report.warn(verdict.found)
        if attempt == TRIES or not _ask(progress, account):
            break
    progress.add(_settled(progress, account, verdict))


def _ask(progress: Progress, account: Account) -> bool:
    """False when the person leaves it out. A required one is asked for until there is an answer."""
    hint = "" if account.is_required else " (Enter leaves it out)"
    progress.place.report.note(f"\n{account.title} {account.why}.\n  {account.where}")
    for question in account.questions:
        ask = progress.questions.secret if question.is_secret else progress.questions.text
        answer = ask(f"{question.text}{hint}", flag=question.flag)
        if not answer:
            _forget(progress, [one.key for one in account.questions])
            return False
        progress.answers[question.key] = answer
    return True


def _settled(progress: Progress, account: Account, verdict: Verdict) -> Finding:
    """What is refused is not written; what could not be checked only when somebody says so."""
    given = [question.key for question in account.questions if question.key in progress.answers]
    if verdict.answer == "ok":
        return ok(account.name, f"{verdict.found}{_origin(progress, account)}")
    if verdict.answer == "missing":
        if account.is_required:
            flag = account.questions[0].flag
            return fail(account.name, "not set", f"gpuctl setup {flag} FILE")
        return skipped(account.name, f"not set; it {account.why}")
    if verdict.answer == "unreachable" and given:
        if _may_save(progress, account, verdict):
            return warn(account.name, f"saved unchecked: {verdict.found}", "gpuctl setup --check")
        found = f"not saved, because it could not be checked: {verdict.found}"
        _forget(progress, given)
        return fail(account.name, found, "gpuctl setup --save-unchecked … saves it all the same")
    _forget(progress, given)
    return fail(account.name, verdict.found, verdict.remedy)


def _may_save(progress: Progress, account: Account, verdict: Verdict) -> bool:
    if progress.wishes.save_unchecked:
        return True
    if not progress.may_ask:
        return False
    progress.place.report.warn(f"{account.title}: {verdict.found}")
    return progress.questions.yes("save it unchecked?", flag="--save-unchecked")


def _forget(progress: Progress, keys: list[str]) -> None:
    for key in keys:
        progress.answers.pop(key, None)


def _origin(progress: Progress, account: Account) -> str:
    told = account.origins(progress.values)
    return f" ({told})" if told else ""


def require(flags: list[str]) -> None:
    """Raises UsageError naming every flag at once: a second run must not find a second one."""
    if flags:
        raise UsageError(
            f"setup needs answers, and nobody can be asked: {', '.join(flags)}",
            hint=f"gpuctl setup --no-input {' '.join(f'{flag} …' for flag in flags)}",
            details={"flags": flags},
        )
