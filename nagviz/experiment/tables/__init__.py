"""What a config may say: a record for every table, by the part of the file that it stands in."""
