"""The one exception that means "the input is at fault, not the program"."""


class ChordomaError(Exception):
    """Bad user input. The message is one line: which case, what was expected, what was found, what to do.

    Command lines print it without a traceback and exit with status 1 (see `console.run`).
    """
