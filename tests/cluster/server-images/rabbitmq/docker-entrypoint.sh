#!/bin/bash
# Debian's RabbitMQ behind the paths of the official image. The server itself reads RABBITMQ_NODENAME,
# RABBITMQ_USE_LONGNAME, RABBITMQ_CONFIG_FILE and RABBITMQ_LOGS.
set -euo pipefail
(($#)) || set -- rabbitmq-server
exec "$@"
