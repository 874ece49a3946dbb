"""Stores a notification for each message about a booking, then acknowledges it."""

import json
import os
from datetime import datetime, timezone

import pika
from pymongo import MongoClient

EXCHANGE = "bookings"
QUEUE = "notifications"

collection = MongoClient(os.environ["MONGODB_URL"])["seed_notifications"]["notifications"]


def store(channel, delivery, _properties, body: bytes) -> None:
    message = json.loads(body)
    text = f"{message['seats']} seat(s) are yours; your booking is number {message['booking_id']}."
    message.update(title="Booking confirmed", body=text, read_at=None, created_at=datetime.now(timezone.utc))
    collection.insert_one(message)
    channel.basic_ack(delivery.delivery_tag)


channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
channel.exchange_declare(EXCHANGE, "topic", durable=True)
channel.queue_declare(QUEUE, durable=True)
channel.queue_bind(QUEUE, EXCHANGE, "booking.*")
channel.basic_qos(prefetch_count=100)
channel.basic_consume(QUEUE, store)
channel.start_consuming()
