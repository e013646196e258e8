"""The exception for mistakes that the user can mend, and the warning for what he should know."""


class InputError(ValueError):
    """An invalid file, flag or config value.

    The message is one sentence that names the file, flag or field, the value found, the value
    expected and what to do. Scripts print it without a traceback and exit with status 2
    (`hicfm_jax.cli.run`).
    """


class InputNote(UserWarning):
    """What a user should know of a file that is read all the same, in one sentence.

    Scripts print it as `note: ...` (`hicfm_jax.cli.run`).
    """
