"""The exception for mistakes that the user can mend."""


class InputError(ValueError):
    """An invalid file, flag or config value.

    The message is one sentence that names the file, flag or field, the value found, the value
    expected and what to do. Scripts print it without a traceback and exit with status 2
    (`hicfm_jax.cli.run`).
    """
