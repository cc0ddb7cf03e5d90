#!/usr/bin/env bash
# Puts a file of backup.sh in the place of the database server's data:
#   deploy/compose/restore.sh FILE.tar.gz
# Then lets the services read everything again, since a while before the backup: the inbox, which is
# part of the backup, skips what was handled by then. What services told each other after it counts
# no more (services/kit/undone.py): they decide it anew, of what people and Stripe said.
set -euo pipefail

file=$(realpath "${1:?say what: restore.sh FILE.tar.gz}")
label=$(tar --extract --gzip --to-stdout --file "$file" backup_label)
taken=$(sed -n 's/^START TIME: //p' <<<"$label")
# Longer than a message is ever under way from a service's commit to its handling.
since=$(date --utc --date "$taken - 15 minutes" +%Y-%m-%dT%H:%M:%S.000)
echo "backup of $taken; Kafka is read again from $since on"

docker compose stop gateway order inventory payment notification ops postgres
gunzip --stdout "$file" | docker compose run --rm --no-deps -T --entrypoint bash postgres -c \
  'set -e; rm -rf "$PGDATA"; mkdir -m 700 "$PGDATA"; cd "$PGDATA"; tar --extract
   # Else the server would not say how far the backup goes. It has all of the log that it needs.
   touch recovery.signal; echo "restore_command = false" >>postgresql.auto.conf'
began=$(date --utc +%Y-%m-%dT%H:%M:%S.%NZ)
docker compose up --detach --wait --no-recreate postgres kafka

# The backup's moment is its end. The server says which that was when it has caught up with its log,
# unless nothing was committed while the backup was made.
last=$(docker compose logs --no-log-prefix --since "$began" postgres |
  sed -n 's/.*last completed transaction was at log time //p' | tail -n 1)
iso() { date --utc --date "$1" +%Y-%m-%dT%H:%M:%S.%6N+00:00; }
undone=$(iso "${last:-$taken}")/$(iso now)
echo "what was decided since is undone: $undone"
sql() { # sql DATABASE, the statements on standard input; they may use :'undone'
  docker compose exec -T postgres psql --quiet --username postgres --dbname "$1" \
    --set ON_ERROR_STOP=1 --set undone="$undone"
}
for database in orders inventory payment gateway notification ops; do
  sql "$database" <<'END'
SELECT format('ALTER DATABASE %I SET orderflow.undone = %L', current_database(),
              concat_ws(',', nullif(current_setting('orderflow.undone', true), ''), :'undone'))
\gexec
END
done
# For orders under way time stood still: whoever could still pay can.
sql orders <<'END'
WITH undone AS (
    SELECT split_part(:'undone', '/', 2)::timestamptz - split_part(:'undone', '/', 1)::timestamptz AS time
)
UPDATE orders SET expires_at = expires_at + undone.time, deadline_at = deadline_at + undone.time
  FROM undone
 WHERE deadline_at IS NOT NULL;
END

groups() {
  docker compose exec -T kafka /opt/kafka/bin/kafka-consumer-groups.sh \
    --bootstrap-server localhost:9092 "$@"
}
rest() { # rest GROUP...: none of them is behind, and none was a moment ago
  local quiet=0 behind group named=()
  for group; do named+=(--group "$group"); done
  while ((quiet < 2)); do
    behind=$(groups --describe "${named[@]}" | awk '$6 + 0 > 0')
    if [[ $behind ]]; then quiet=0; else quiet=$((quiet + 1)); fi
  done
}
groups --all-groups --all-topics --reset-offsets --to-datetime "$since" --execute >/dev/null
# One after the other: payments are made once all of them are asked for, Stripe's events are read
# once the payments are there that they are about, and then customers are let in.
groups --group payment --topic stripe.webhooks --reset-offsets --to-latest --execute >/dev/null
start() { docker compose up --detach --wait --no-recreate "$@"; }
start --no-deps order inventory
rest order inventory
start --no-deps payment
rest order inventory payment
docker compose stop payment
groups --group payment --topic stripe.webhooks --reset-offsets --to-datetime "$since" --execute >/dev/null
start
