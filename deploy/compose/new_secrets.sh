#!/usr/bin/env bash
# Writes a folder of secrets for docker-compose.yml: new_secrets.sh FOLDER. Keeps what is there.
# The key of Stripe's account, the secret of its webhook endpoint, the mail server's password and the
# address that alerts are sent to are for you to put in.
set -euo pipefail

folder=${1:?say where: new_secrets.sh FOLDER}
mkdir -p "$folder"
# Containers read the files as another user than yours; the closed folder keeps other people out.
chmod 700 "$folder"
write() {
  [[ -e $folder/$1 ]] || { printf '%s\n' "$2" >"$folder/$1" && chmod 444 "$folder/$1"; }
}
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

for name in postgres_password {orders,inventory,payment,gateway,notification,ops,ops_runtime}_db_password jwt_secret; do
  write "$name" "$(random)"
done
write stripe_secret_key "sk_test_put_yours_here"
write stripe_webhook_secret "whsec_$(random)"
write smtp_password "put yours here"
write alert_webhook_url "http://127.0.0.1:9/put-yours-here"
echo "secrets in $folder; put Stripe's into stripe_secret_key and stripe_webhook_secret,"
echo "and that of SMTP_USERNAME at your mail server into smtp_password;"
echo "alert_webhook_url is needed only where alertmanager.yml names it"
