#!/usr/bin/env bash
# Puts a file of backup.sh in the place of the database server's data:
#   deploy/compose/restore.sh FILE.tar.gz
# Then lets the services read commands and Stripe's events again, since a while before the backup:
# the inbox, which is part of the backup, skips what was handled by then. What services told each
# other after it is not read again, because they will say it anew. docs/deployment.md says what is
# known of this and what is not.
set -euo pipefail

file=$(realpath "${1:?say what: restore.sh FILE.tar.gz}")
label=$(tar --extract --gzip --to-stdout --file "$file" backup_label)
taken=$(sed -n 's/^START TIME: //p' <<<"$label")
# Longer than a message is ever under way from a service's commit to its handling.
since=$(date --utc --date "$taken - 15 minutes" +%Y-%m-%dT%H:%M:%S.000)
echo "backup of $taken; Kafka is read again from $since on"

docker compose stop gateway order inventory payment notification ops postgres
gunzip --stdout "$file" | docker compose run --rm --no-deps -T --entrypoint bash postgres -c \
  'set -e; rm -rf "$PGDATA"; mkdir -m 700 "$PGDATA"; tar --extract --directory "$PGDATA"'
docker compose up --detach --wait --no-recreate postgres kafka

groups() {
  docker compose exec -T kafka /opt/kafka/bin/kafka-consumer-groups.sh \
    --bootstrap-server localhost:9092 "$@"
}
rewind() { # rewind GROUP TOPIC... (no topic: all that the group reads)
  local group=$1 topic topics=()
  shift
  for topic in "$@"; do topics+=(--topic "$topic"); done
  (($#)) || topics=(--all-topics)
  groups --group "$group" "${topics[@]}" --reset-offsets --to-datetime "$since" --execute
}
rewind order order.commands
rewind inventory inventory.commands
rewind payment payment.commands stripe.webhooks
rewind gateway order.events inventory.catalog inventory.replies
rewind notification order.events customer.contacts
rewind ops # It only watches, so it hears all again.

# Alone at first: an answer that overtakes its order is parked, and the order waits behind it.
docker compose up --detach --wait --no-recreate --no-deps order
while groups --describe --group order | awk '$2 == "order.commands" && $6 > 0' | grep -q .; do
  sleep 1
done
docker compose up --detach --wait --no-recreate
