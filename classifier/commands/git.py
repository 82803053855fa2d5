"""What commands ask of git in the checkout."""

import subprocess

from classifier.base.errors import UserError


def git(*arguments: str) -> str:
    """Run git; return what it prints.

    Raises:
        UserError: it failed; its own last line.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return done.stdout


def edited(*paths: str, untracked: bool = False) -> list[str]:
    """List the files, of those at `paths` or of all, that differ from the last commit."""
    option = "-unormal" if untracked else "-uno"
    listed = git("status", "--porcelain", option, "--", *paths)
    return [line[3:] for line in listed.splitlines()]
