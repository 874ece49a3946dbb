-- How often a row was refused: the relay tries those last that it tried in vain.
alter table outbox add column attempts integer not null default 0;

create index outbox_due on outbox (attempts, created_at) where published_at is null;
