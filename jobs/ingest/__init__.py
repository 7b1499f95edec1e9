"""Reading an upload: what kind of file it is, and its rows one by one.

Nothing here knows the site. It runs in a process of its own (`python -m jobs.ingest`), because a
file can be made so that reading it uses up all memory.

- file_formats.py  which reader fits a file: csv_reader.py, workbook_reader.py or json_reader.py
- upload_file.py, encodings.py (encoding_guesses.py, utf_16.py)  the bytes of a file and its text
- delimiters.py, dialects.py, csv_records.py, drawn_tables.py  how the cells of a CSV file are cut
- workbook_shown.py and workbook_*.py  what a spreadsheet hides or shows differently
- garbled_text.py  text that was saved in a wrong encoding
- sheet_choice.py  the sheet of a workbook with the table
- table_rows.py  records become the rows of a table: headers.py finds the line of the column names
  (merged_names.py those with merged cells),
  column_names.py makes names that a prompt can use, row_notes.py finds notes and totals below,
  inner_lines.py those between the rows;
  row_shapes.py is what they see of a line
- request_reader.py and request_*.py  ready-made requests: checks, fixes and tools
- input_sizes.py, images.py, pdf.py  how many tokens the input of a request has at most
- corrections.py, corrected_file.py  rows that people corrected and uploaded
- shapes.py  limits, choices, rows, findings; descriptions.py has names for people
- finding_kinds.py, request_kinds.py  what each kind of finding means
- protocol.py, reader_process.py  what the process is told, does and replies
"""
