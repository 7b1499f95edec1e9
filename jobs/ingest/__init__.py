"""Reading an upload: what kind of file it is, and its rows one by one. Nothing here knows of the
site: it runs in a process of its own (`python -m jobs.ingest`), because a file can be made so that
reading it takes all the memory there is.

- finding.py  which reader fits a file; opening.py and encodings.py are its bytes and letters
- table.py    CSV and its relatives; workbook.py spreadsheets; json_lines.py JSON
- columns.py  records become the rows of a table
- shapes.py   limits, choices, rows, findings; wording.py says what each finding means
- child.py    what the process does; answers.py what it says
"""
