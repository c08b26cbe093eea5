-- state: what may keep a message from being tried again, and the queue of its account as it is now
SELECT m.seq, m.status, m.parked_for, m.recipients, m.retry_count,
    (SELECT a.lane FROM accounts a WHERE a.tenant_id = m.tenant_id AND a.id = m.account_id) AS lane
FROM messages m WHERE m.tenant_id = :tenant_id AND m.id = :id
FOR UPDATE OF m; -- @postgres

-- reschedule: it is due at another time, or now; what has failed begins anew for those who have not got it
UPDATE messages SET status = :status, deferred_ts = :deferred_ts, lane = :lane, recipients = :recipients,
    retry_count = :retry_count, error = NULL, error_ts = NULL, parked_for = NULL, parked_since = NULL,
    reported_ts = CASE WHEN :is_news = 1 THEN NULL ELSE reported_ts END, updated_at = :now
WHERE seq = :seq;
