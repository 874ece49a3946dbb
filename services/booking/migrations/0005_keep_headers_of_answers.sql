-- Headers of a stored answer, each as `name: value`. Null in rows that were written before.
alter table idempotency_keys add column headers text[];
