"""An experiment from one deep map: the commands of the README in order."""
