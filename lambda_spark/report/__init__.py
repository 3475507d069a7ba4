"""What people see: the console's tables and sentences, and the HTML report.

Rows of tables, counts and evaluations come in.
Out go text for a terminal, CSV and JSON, and one HTML file that opens offline.
"""
