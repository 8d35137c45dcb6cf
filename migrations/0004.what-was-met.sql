-- How a site was met: address, versions, bytes, phases, certificate; and evidence where it was not up.
--
-- Only columns that may be null: the release before this one runs on this schema, its COPY names its own columns.

-- The lock that adding columns takes stops every COPY and read, and so does waiting for it: give up before one of those
-- does (after 5 s), and let the migrator try again.
SET LOCAL lock_timeout = '2s';

ALTER TABLE wms.results
    ADD COLUMN IF NOT EXISTS address text,
    ADD COLUMN IF NOT EXISTS http_version text,
    ADD COLUMN IF NOT EXISTS tls_version text,
    ADD COLUMN IF NOT EXISTS tls_cipher text,
    ADD COLUMN IF NOT EXISTS redirects integer,
    ADD COLUMN IF NOT EXISTS wire_bytes bigint,
    ADD COLUMN IF NOT EXISTS body_bytes bigint,
    ADD COLUMN IF NOT EXISTS content_type text,
    ADD COLUMN IF NOT EXISTS resolve_ms double precision,
    ADD COLUMN IF NOT EXISTS connect_ms double precision,
    ADD COLUMN IF NOT EXISTS tls_ms double precision,
    ADD COLUMN IF NOT EXISTS processing_ms double precision,
    ADD COLUMN IF NOT EXISTS transfer_ms double precision,
    ADD COLUMN IF NOT EXISTS certificate_subject text,
    ADD COLUMN IF NOT EXISTS certificate_issuer text,
    ADD COLUMN IF NOT EXISTS certificate_names text[],
    ADD COLUMN IF NOT EXISTS certificate_expires_at timestamptz,
    -- The earliest end of all certificates that the peer sent.
    ADD COLUMN IF NOT EXISTS chain_expires_at timestamptz,
    -- {"headers": {name: value}, "body": text or null}; json keeps the text as it was, jsonb would reorder it.
    ADD COLUMN IF NOT EXISTS evidence json;
