#!/usr/bin/env bash
# Puts a file of backup.sh in the place of the database server's data:
#   deploy/compose/restore.sh FILE.tar.gz
# Then lets every service read again what Kafka holds since a while before the backup: the inbox,
# which is part of the backup, skips what was handled by then, and the rest happens (again).
set -euo pipefail

file=$(realpath "${1:?say what: restore.sh FILE.tar.gz}")
label=$(tar --extract --gzip --to-stdout --file "$file" backup_label)
taken=$(sed -n 's/^START TIME: //p' <<<"$label")
# Longer than a message is ever under way from a service's commit to its handling.
since=$(date --utc --date "$taken - 15 minutes" +%Y-%m-%dT%H:%M:%S.000)
echo "backup of $taken; Kafka is read again from $since on"

docker compose stop gateway order inventory payment postgres
gunzip --stdout "$file" | docker compose run --rm --no-deps -T --entrypoint bash postgres -c \
  'set -e; rm -rf "$PGDATA"; mkdir -m 700 "$PGDATA"; tar --extract --directory "$PGDATA"'
docker compose up --detach --wait --no-recreate postgres kafka
for group in gateway order inventory payment; do
  docker compose exec -T kafka /opt/kafka/bin/kafka-consumer-groups.sh \
    --bootstrap-server localhost:9092 --group "$group" --all-topics \
    --reset-offsets --to-datetime "$since" --execute
done
docker compose up --detach --wait --no-recreate
