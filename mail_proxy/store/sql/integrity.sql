-- tables: what tables there are, of whatever program
SELECT name FROM sqlite_master WHERE type = 'table';

-- tables @postgres: those that a statement would find by their names
SELECT CAST(c.relname AS TEXT) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'pg_catalog' AND pg_table_is_visible(c.oid);

-- columns: the columns of a table, in order
SELECT name FROM pragma_table_info(:table_name) ORDER BY cid;

-- columns @postgres: of the table that a statement would find by this name
SELECT CAST(attname AS TEXT) AS name FROM pg_attribute
WHERE attrelid = to_regclass(CAST(:table_name AS TEXT)) AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
