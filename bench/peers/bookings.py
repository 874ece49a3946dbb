"""The booking service: Flask over PostgreSQL, with a payment gateway that is a function."""

import json
import os
import threading
import uuid
from datetime import datetime, timedelta, timezone

import pika
import requests
from flask import Flask, abort, request
from pika.exceptions import AMQPError
from requests.adapters import HTTPAdapter
from sqlalchemy import create_engine, text

import tokens

THREADS = 8
HOLD = timedelta(minutes=15)
EXCHANGE = "bookings"
EVENTS = os.environ["EVENT_SERVICE_URL"] + "/api/events/"

# One statement a time needs no BEGIN and COMMIT around it.
database = create_engine(
    os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg://"),
    isolation_level="AUTOCOMMIT",
    pool_size=THREADS,
    max_overflow=0,
)
INSERT = text(
    "insert into bookings (user_id, event_id, status, payment_status, seats, amount, currency, expires_at)"
    " values (:user_id, :event_id, 'Pending', 'Unpaid', :seats, :amount, :currency, :expires_at) returning *"
)
FIND = text("select * from bookings where id = :id and user_id = :user_id")
SETTLE = text("update bookings set status = :status, payment_status = :payment_status where id = :id")

event_service = requests.Session()
event_service.trust_env = False
event_service.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=THREADS))

# A connection of pika belongs to one thread.
rabbitmq = threading.local()
PERSISTENT = pika.BasicProperties(content_type="application/json", delivery_mode=2)

app = Flask(__name__)


def signed_in() -> int:
    return tokens.user_of(request.headers.get("Authorization", "")) or abort(401)


def one(statement, **values):
    with database.connect() as connection:
        return connection.execute(statement, values).one_or_none()


def answer(booking) -> dict:
    moments = {name: booking._mapping[name].isoformat() + "Z" for name in ("created_at", "expires_at")}
    return {**booking._mapping, **moments}


def take_seats(event_id: str, seats: int) -> dict:
    """Looks whether enough seats are left, and takes them; the event. Ends the request where that fails."""
    found = event_service.get(EVENTS + event_id, timeout=5)
    if found.status_code == 404:
        abort(404, "event_not_found")
    found.raise_for_status()
    event = found.json()
    if event["available"] < seats:
        abort(409, "sold_out")
    taken = event_service.put(f"{EVENTS}{event_id}/decrease_capacity", json={"seats": seats}, timeout=5)
    if taken.status_code == 409:
        abort(409, "sold_out")
    taken.raise_for_status()
    return event


def connect() -> None:
    parameters = pika.URLParameters(os.environ["AMQP_URL"])
    # Nobody would answer a heartbeat between two requests.
    parameters.heartbeat = 0
    rabbitmq.channel = pika.BlockingConnection(parameters).channel()
    rabbitmq.channel.exchange_declare(EXCHANGE, "topic", durable=True)


def publish(message: dict) -> None:
    body = json.dumps(message).encode()
    try:
        if not hasattr(rabbitmq, "channel"):
            connect()
        rabbitmq.channel.basic_publish(EXCHANGE, message["type"], body, PERSISTENT)
    except AMQPError:
        connect()
        rabbitmq.channel.basic_publish(EXCHANGE, message["type"], body, PERSISTENT)


@app.post("/bookings")
def create_booking():
    user_id = signed_in()
    body = request.get_json()
    event_id, seats = body.get("event_id"), body.get("seats")
    if not isinstance(event_id, str) or not isinstance(seats, int) or seats < 1:
        abort(400, "invalid_body")
    event = take_seats(event_id, seats)
    booking = one(
        INSERT,
        user_id=user_id,
        event_id=event_id,
        seats=seats,
        amount=event["price"] * seats,
        currency=event["currency"],
        expires_at=datetime.now(timezone.utc).replace(tzinfo=None) + HOLD,
    )
    return answer(booking), 201


@app.get("/bookings/<int:booking_id>")
def get_booking(booking_id: int):
    return answer(one(FIND, id=booking_id, user_id=signed_in()) or abort(404))


def charge(payment_method: str) -> bool:
    return payment_method == "pm_card_visa"


@app.post("/payments")
def pay():
    user_id = signed_in()
    body = request.get_json()
    booking = one(FIND, id=body.get("booking_id"), user_id=user_id) or abort(404)
    if booking.status != "Pending":
        abort(409, "booking_not_pending")

    paid = charge(body.get("payment_method"))
    status, payment_status = ("Confirmed", "Paid") if paid else ("Pending", "Failed")
    with database.connect() as connection:
        connection.execute(SETTLE, {"id": booking.id, "status": status, "payment_status": payment_status})
    if not paid:
        return {"code": "payment_declined"}, 402

    message = {"type": "booking.confirmed", "user_id": user_id, "booking_id": booking.id, "event_id": booking.event_id}
    publish({**message, "seats": booking.seats})
    payment = {"id": str(uuid.uuid4()), "booking_id": booking.id, "status": "Succeeded"}
    return {**payment, "amount": booking.amount, "currency": booking.currency}, 201
