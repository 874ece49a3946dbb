"""The notification service: Flask over MongoDB."""

import os

from flask import Flask, abort, request
from pymongo import MongoClient

import tokens

collection = MongoClient(os.environ["MONGODB_URL"])["seed_notifications"]["notifications"]

app = Flask(__name__)


@app.get("/notifications/<int:user_id>")
def list_notifications(user_id: int):
    if tokens.user_of(request.headers.get("Authorization", "")) != user_id:
        abort(401)
    newest = collection.find({"user_id": user_id}).sort("_id", -1).limit(request.args.get("limit", 20, type=int))
    return {"items": [answer(notification) for notification in newest]}


def answer(notification: dict) -> dict:
    created_at = notification["created_at"].isoformat() + "Z"
    return {**notification, "_id": str(notification["_id"]), "created_at": created_at}
