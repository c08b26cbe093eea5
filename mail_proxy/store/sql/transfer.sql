-- last_number: the highest number that was given to a row of a table, be the row still there or not
SELECT seq AS number FROM sqlite_sequence WHERE name = :table_name;

-- last_number @postgres: NULL when none was given
SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(:table_name, :column_name) AS regclass)) AS number;

-- go_on_after: the next row of a table gets a higher number than this
INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq)
VALUES ((SELECT rowid FROM sqlite_sequence WHERE name = :table_name), :table_name, :number);

-- go_on_after @postgres: no transaction takes this back, and it does no harm
SELECT setval(CAST(pg_get_serial_sequence(:table_name, :column_name) AS regclass), CAST(:number AS BIGINT));
