#!/usr/bin/env bash
# Copies the database server of docker-compose.yml into one file, while everything runs:
#   deploy/compose/backup.sh FILE.tar.gz
# All databases as of one moment, which single dumps are not: those would tell of money that an
# order does not know of.
set -euo pipefail

file=${1:?say where to: backup.sh FILE.tar.gz}
docker compose exec -T postgres pg_basebackup --username postgres --pgdata - --format tar \
  --wal-method fetch --checkpoint fast | gzip >"$file.new"
# A file of this name is whole.
mv "$file.new" "$file"
ls -l "$file"
