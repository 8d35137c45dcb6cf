-- Everything of 0004.what-was-met, last made first.

SET LOCAL lock_timeout = '2s';

ALTER TABLE IF EXISTS wms.results
    DROP COLUMN IF EXISTS evidence,
    DROP COLUMN IF EXISTS chain_expires_at,
    DROP COLUMN IF EXISTS certificate_expires_at,
    DROP COLUMN IF EXISTS certificate_names,
    DROP COLUMN IF EXISTS certificate_issuer,
    DROP COLUMN IF EXISTS certificate_subject,
    DROP COLUMN IF EXISTS transfer_ms,
    DROP COLUMN IF EXISTS processing_ms,
    DROP COLUMN IF EXISTS tls_ms,
    DROP COLUMN IF EXISTS connect_ms,
    DROP COLUMN IF EXISTS resolve_ms,
    DROP COLUMN IF EXISTS content_type,
    DROP COLUMN IF EXISTS body_bytes,
    DROP COLUMN IF EXISTS wire_bytes,
    DROP COLUMN IF EXISTS redirects,
    DROP COLUMN IF EXISTS tls_cipher,
    DROP COLUMN IF EXISTS tls_version,
    DROP COLUMN IF EXISTS http_version,
    DROP COLUMN IF EXISTS address;
