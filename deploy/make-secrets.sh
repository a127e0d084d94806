#!/bin/sh
# Makes the secrets of the composition once: an authority of its own, certificates, a password for each process, and the
# keys of tokens.
# $SECRETS (/secrets) has a folder for each service, which mounts it and no other. The authority's key is kept
# nowhere: where a folder is missing or from another run, everything is made anew.
set -eu
umask 077

SECRETS=${SECRETS:-/secrets}
DAYS=825
FOLDERS="redis proxy ingestor gateway feed token prometheus grafana"

made=$(cat "$SECRETS/redis/made" 2>/dev/null || true)
complete() {
    for folder in $FOLDERS; do
        [ -n "$made" ] && [ "$(cat "$SECRETS/$folder/made" 2>/dev/null)" = "$made" ] || return 1
    done
}
if complete; then
    echo "the secrets are there, from run $made"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/openssl.cnf" <<END
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
END

# OWNER FOLDER/FILE: standard input becomes a file that only that user may read. The services have other users.
put() {
    rm -f "$SECRETS/$2"
    cat >"$SECRETS/$2"
    chmod 0400 "$SECRETS/$2"
    [ "$(id -u)" != 0 ] || chown "$1:$1" "$SECRETS/$2"
}

key() {
    openssl ecparam -name prime256v1 -genkey -noout
}

# NAME USAGE ALTERNATIVES: a key and a certificate, in $work/NAME.key and $work/NAME.pem.
certificate() {
    cat >"$work/$1.cnf" <<END
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = $2
subjectAltName = $3
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
    key >"$work/$1.key"
    openssl req -new -config "$work/openssl.cnf" -key "$work/$1.key" -subj "/CN=$1" -out "$work/$1.csr"
    openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
        -days "$DAYS" -sha256 -extfile "$work/$1.cnf" -out "$work/$1.pem" 2>/dev/null
}

password() {
    openssl rand -hex 32
}

run=$(openssl rand -hex 8)
for folder in $FOLDERS; do
    mkdir -p "$SECRETS/$folder"
    chmod 0755 "$SECRETS/$folder"
    rm -f "$SECRETS/$folder/made"
done

key >"$work/ca.key"
openssl req -x509 -new -config "$work/openssl.cnf" -extensions authority -key "$work/ca.key" -sha256 -days "$DAYS" \
    -subj "/CN=Depthcast composition $run" -out "$work/ca.pem"

# Redis, user 999. Its own certificate is one of a client too, for its health check.
certificate redis serverAuth,clientAuth DNS:redis,DNS:localhost,IP:127.0.0.1
put 999 redis/ca.pem <"$work/ca.pem"
put 999 redis/redis.pem <"$work/redis.pem"
put 999 redis/redis-key.pem <"$work/redis.key"

# The proxy, user 99: certificate and key in one file. Whoever connects to it needs ca.pem.
certificate proxy serverAuth DNS:localhost,DNS:proxy,IP:127.0.0.1,IP:::1
cat "$work/proxy.pem" "$work/proxy.key" | put 99 proxy/proxy.pem
put 99 proxy/ca.pem <"$work/ca.pem"

# Who connects to Redis, user 10001: a certificate and a password for each, and a user with the rights of its role. Redis
# has the passwords' hashes. Nobody has that of the user default, which stays on: Redis replays its file as that user, and
# leaves out transactions that it may not do.
depthcast redis-acl --passwords "$work/passwords" --prefix depthcast ingestor gateway feed operator >"$work/users.acl"
echo "user health on nopass -@all +ping" >>"$work/users.acl"
for who in ingestor gateway feed token; do
    role=$who
    [ "$who" != token ] || role=operator
    certificate "$who" clientAuth "DNS:$who"
    put 10001 "$who/ca.pem" <"$work/ca.pem"
    put 10001 "$who/client.pem" <"$work/$who.pem"
    put 10001 "$who/client-key.pem" <"$work/$who.key"
    put 10001 "$who/redis-password" <"$work/passwords/$role"
done
put 999 redis/users.acl <"$work/users.acl"

# Tokens: the signing key is for the service token alone; gateways have the public half.
depthcast token keygen "$work/tokens" >/dev/null
put 10001 token/signing.pem <"$work/tokens/signing.pem"
put 10001 gateway/keys.json <"$work/tokens/keys.json"

# Prometheus, user 65534: a token that lets it read metrics, and the book of a symbol that there is not.
depthcast token issue --key "$work/tokens/signing.pem" --subject prometheus --metrics --symbol none --lifetime "${DAYS}d" \
    >"$work/metrics-token"
put 65534 prometheus/metrics-token <"$work/metrics-token"

# Grafana, user 472: the password of its user admin.
password | put 472 grafana/admin-password

for folder in $FOLDERS; do
    echo "$run" >"$SECRETS/$folder/made"
    chmod 0444 "$SECRETS/$folder/made"
done
echo "made secrets, run $run"
