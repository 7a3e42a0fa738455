"""All SQL of our database, a file per aggregate. Only `unit_of_work` commits."""
