-- time: what the database's clock says at this moment, in Unix seconds
SELECT (julianday('now') - 2440587.5) * 86400.0 AS seconds;

-- time @postgres: the same, and not when the transaction began
SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION) AS seconds;
