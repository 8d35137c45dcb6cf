-- Everything of 0007.rights: the roles that were named lose their rights, and only the owner makes and drops partitions.

SET LOCAL lock_timeout = '2s';

-- lint: allow hidden-in-do: there is no ALTER FUNCTION IF EXISTS; it takes no table's lock
DO $body$
BEGIN
    IF to_regprocedure('wms.apply_rights(jsonb)') IS NOT NULL AND to_regclass('wms.rights') IS NOT NULL THEN
        DELETE FROM wms.rights;
        PERFORM wms.apply_rights('{}');
    END IF;
    IF to_regprocedure('wms.ensure_partition(date)') IS NOT NULL THEN
        ALTER FUNCTION wms.ensure_partition(date) SECURITY INVOKER RESET ALL;
        GRANT EXECUTE ON FUNCTION wms.ensure_partition(date) TO PUBLIC;
    END IF;
    IF to_regprocedure('wms.drop_partition(date)') IS NOT NULL THEN
        ALTER FUNCTION wms.drop_partition(date) SECURITY INVOKER RESET ALL;
        GRANT EXECUTE ON FUNCTION wms.drop_partition(date) TO PUBLIC;
    END IF;
END
$body$;

DROP FUNCTION IF EXISTS wms.apply_rights(jsonb);

DROP TABLE IF EXISTS wms.right_holders;

DROP TABLE IF EXISTS wms.rights;
