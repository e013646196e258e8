"""From one deep map to a judged model that enhances shallow ones: the commands of the README in a row."""
