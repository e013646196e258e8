"""An experiment from one deep map: the README's commands in order."""
