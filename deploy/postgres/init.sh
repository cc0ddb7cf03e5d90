#!/usr/bin/env bash
# init.sql as the image's entry point runs it: the passwords come from files, not from variables
# that `docker inspect` shows.
set -euo pipefail

for name in orders inventory payment gateway notification ops ops_runtime; do
  password=$(<"/run/secrets/${name}_db_password")
  export "${name^^}_DB_PASSWORD=$password"
done
psql --no-psqlrc --quiet --username postgres --dbname postgres --file /etc/postgresql/init.sql
