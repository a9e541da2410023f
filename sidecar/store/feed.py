"""The change feed of each partition, followed in order and resumed exactly; a gap or an older data set is a flush."""
