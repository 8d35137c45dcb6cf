-- Makes the databases and users of the environments dev and test. Run once, by the postgres image when its data folder
-- is empty, as the superuser through psql; a test runs it on the embedded Postgres.
--
-- Passwords come from the environment; a missing one stops the start instead of making a user without a password.
\set ON_ERROR_STOP on
\getenv dev_password WMS_DEV_PASSWORD
\getenv test_password WMS_TEST_PASSWORD
\getenv dev_reader_password WMS_DEV_READER_PASSWORD

CREATE ROLE wms_dev LOGIN PASSWORD :'dev_password';
CREATE ROLE wms_test LOGIN PASSWORD :'test_password';
-- Grafana's: reads all and writes nothing.
CREATE ROLE wms_dev_reader LOGIN PASSWORD :'dev_reader_password';
ALTER ROLE wms_dev_reader SET default_transaction_read_only = on;
ALTER ROLE wms_dev_reader SET statement_timeout = '30s';
GRANT pg_read_all_data TO wms_dev_reader;

CREATE DATABASE wms_dev OWNER wms_dev;
CREATE DATABASE wms_test OWNER wms_test;

-- Every role may connect to every database unless told otherwise: the environments must not meet here either.
REVOKE ALL ON DATABASE wms_dev FROM PUBLIC;
REVOKE ALL ON DATABASE wms_test FROM PUBLIC;
GRANT CONNECT ON DATABASE wms_dev TO wms_dev_reader;
