"""The one exception that stands for a mistake the user can mend."""


class InputError(ValueError):
    """A file, flag or config value is not what it should be.

    The message is one sentence that names the thing (file, flag, field), the value found, the
    value expected and what to do. Scripts print it without a traceback and leave with status 2
    (`hicfm_jax.command_line.run`).
    """
