"""A job before it is sent: its file is read, its rows are tested, its price is estimated."""
