-- of_lane: the rate limits that bind an account, its own and its tenant's; 0 is none
SELECT a.tenant_id, a.id AS account_id, a.limit_per_minute, a.limit_per_hour, a.limit_per_day, a.limit_behavior,
    t.rate_hourly, t.rate_daily
FROM accounts a JOIN tenants t ON t.id = a.tenant_id
WHERE a.lane = :lane AND t.active = 1;

-- lock: let nobody else count what may be sent until this claim is decided (SQLite has one writer anyway)
SELECT id FROM tenants WHERE id = :tenant_id
FOR NO KEY UPDATE; -- @postgres: intake goes on

-- used_of_lane: what an account has sent since, and what it is sending
SELECT COALESCE(SUM(amount), 0) AS n, MAX(sent_at) AS last FROM send_log WHERE lane = :lane AND sent_at > :since;

-- used_of_tenant: what a tenant has sent since, and what it is sending
SELECT COALESCE(SUM(amount), 0) AS n, MAX(sent_at) AS last FROM send_log WHERE tenant_id = :tenant_id AND sent_at > :since;

-- leavers_of_lane: what will leave an account's window next
SELECT sent_at, amount FROM send_log WHERE lane = :lane AND sent_at > :since
ORDER BY sent_at LIMIT :limit;

-- leavers_of_tenant: what will leave a tenant's window next
SELECT sent_at, amount FROM send_log WHERE tenant_id = :tenant_id AND sent_at > :since
ORDER BY sent_at LIMIT :limit;

-- reserve: a claimed message takes its slot
INSERT INTO send_log (seq, tenant_id, lane, sent_at) VALUES (:seq, :tenant_id, :lane, :in_flight);

-- confirm: these (a JSON list of seq) were sent, or may have been
UPDATE send_log SET sent_at = :now
WHERE seq IN NUMBERS(:seqs) AND sent_at = :in_flight;

-- confirm @postgres: the same
UPDATE send_log SET sent_at = :now
WHERE seq = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:seqs AS json))))
    AND sent_at = :in_flight;

-- cancel: these (a JSON list of seq) were not sent, their slots are free
DELETE FROM send_log WHERE seq IN NUMBERS(:seqs) AND sent_at = :in_flight;

-- cancel @postgres: the same
DELETE FROM send_log
WHERE seq = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:seqs AS json))))
    AND sent_at = :in_flight;

-- abandon: what is in flight and nobody sends any more may have been sent
UPDATE send_log SET sent_at = :now
WHERE span = 0 AND sent_at = :in_flight
    AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.seq = send_log.seq AND m.status = 'sending');

-- rewind: what the clock, since it was put back, says will be sent later
UPDATE send_log SET sent_at = :now WHERE span IN (0, 1, 60) AND sent_at > :later AND sent_at < :in_flight;

-- last_of_some: how far rows can be merged, or forgotten, in one step
SELECT sent_at FROM send_log WHERE span = :span AND sent_at <= :until ORDER BY sent_at LIMIT 1 OFFSET :most;

-- take_out: rows to be merged
DELETE FROM send_log WHERE span = :span AND sent_at <= :until RETURNING tenant_id, lane, sent_at, amount;

-- put_back: several rows as one, which is no message's own
INSERT INTO send_log (seq, tenant_id, lane, sent_at, amount, span)
VALUES (0, :tenant_id, :lane, :sent_at, :amount, :span);

-- forget: what no window reaches any more
DELETE FROM send_log WHERE span = :span AND sent_at <= :until;

-- over: the next of a lane, which is at a limit
SELECT m.seq, m.tenant_id, m.recipients FROM messages m
WHERE m.status = 'pending' AND m.is_held = 0 AND m.lane = :lane
    AND NOT EXISTS (SELECT 1 FROM suspensions s
        WHERE s.tenant_id = m.tenant_id AND s.batch_code IN ('*', m.batch_code))
ORDER BY m.priority, m.seq LIMIT :limit
FOR UPDATE OF m SKIP LOCKED; -- @postgres: what somebody else changes now is left to him
