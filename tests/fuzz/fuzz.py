"""Sends generated requests to every route that the services describe, as people of every role and as a service.

Every answer has to be one that the description documents, by status, media type and schema, and none may be a 5xx.
`stack fuzz` starts the platform and runs this; see `make help`.
"""

import argparse
import base64
import json
import multiprocessing
import os
import random
import sys
import time
import unittest
import warnings
from collections import Counter
from urllib.parse import urlsplit

import hypothesis
import requests
import schemathesis
from hypothesis.errors import HypothesisException
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Where each service describes itself.
DESCRIPTIONS = ["/users/openapi.json", "/api/events/openapi.json", "/bookings/openapi.json", "/notifications/openapi.json"]
PASSWORD = "correct horse battery staple"
# Requests to one route in a row, in either mode.
BATCH = 12
# Seconds that an access token is used for.
TOKEN_AGE = 240
# Seconds within which an answer has to begin; the services give up earlier.
PATIENCE = 60
# How many different failures are printed.
MAX_PRINTED = 25


class Over(BaseException):
    """The requests or the time are used up. No `Exception`, so that Hypothesis lets it through."""


class Person:
    """Somebody with an account, logged in again when the session gets old."""

    def __init__(self, service, address, email, password):
        self.service, self.address, self.email, self.password = service, address, email, password
        self.token, self.since, self.id = None, 0.0, 0

    @classmethod
    def register(cls, service, address, role):
        email = f"{role}-{random.SystemRandom().randrange(10**12)}@fuzz.example"
        body = {"email": email, "password": PASSWORD, "name": f"A fuzzing {role}", "role": role}
        expect(requests.post(f"{service}/users/register", json=body, headers=from_address(address), timeout=PATIENCE), 201)
        return cls(service, address, email, PASSWORD)

    def headers(self):
        if self.token is None or time.monotonic() - self.since > TOKEN_AGE:
            self.log_in()
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def log_in(self):
        body = {"email": self.email, "password": self.password}
        headers = from_address(self.address)
        answer = requests.post(f"{self.service}/users/login", json=body, headers=headers, timeout=PATIENCE)
        self.since = time.monotonic()
        # Generated requests may have disabled the account or used up its attempts: then it goes on without a token.
        if answer.status_code == 200:
            session = answer.json()
            self.token, self.id = session["access_token"], session["user"]["id"]

    def post(self, url, body, status=201):
        return expect(requests.post(url, json=body, headers=self.headers(), timeout=PATIENCE), status)


def from_address(address):
    return {"X-Forwarded-For": address}


def expect(answer, status):
    if answer.status_code != status:
        raise SystemExit(f"fuzz: {answer.request.method} {answer.url}: {answer.status_code} {answer.text}")
    return answer.json()


class Known:
    """Ids of what is there, so that generated requests also reach what lies behind the first 404."""

    def __init__(self, services, people):
        organizer, attendee = people["organizer"], people["attendee"]
        users, events, bookings = (services[path] for path in DESCRIPTIONS[:3])
        start = time.time() + 30 * 86_400
        event = {
            "title": "Fuzz", "description": "Made by a test.", "venue": "Here", "time_zone": "Europe/Berlin",
            "starts_at": instant(start), "ends_at": instant(start + 7_200), "capacity": 1_000, "currency": "EUR",
        }
        made = [organizer.post(f"{events}/api/events", {**event, "price": price})["id"] for price in (0, 2_500)]
        booked = [attendee.post(f"{bookings}/bookings", {"event_id": each, "seats": 1})["id"] for each in made]
        victim = Person.register(users, attendee.address, "attendee")
        victim.log_in()
        self.values = {
            "event_id": made,
            "booking_id": booked,
            "payment_id": [1, 2],
            "user_id": [attendee.id, organizer.id, victim.id],
            "notification_id": ["00000000-0000-4000-8000-000000000000"],
            "reservation_id": [f"00000000-0000-4000-8000-{number:012}" for number in range(20)],
            "provider": ["mock"],
            "ticket": ["1", "ticket-1.AAAA", "x.y", "%00"],
            "ticket_id": [1, 2, 2**31],
        }
        # Only somebody whom nobody else needs is disabled or demoted.
        self.victim_id = victim.id

    def value(self, chance, path, name):
        if name == "id":
            name = {"/bookings": "booking_id", "/payments": "payment_id", "/tickets": "ticket_id", "/users": "user_id"}.get(
                "/" + path.split("/")[1], "notification_id"
            )
        values = self.values.get(name)
        return chance.choice(values) if values else None


def instant(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def odd_cursor(chance):
    position = chance.choice(
        [0, -1, 7, 2**31, 2**63, 1.5, None, "", "a\0b", "é", [], ["a", "EUR"], ["a\0b", "EUR"], [2**62, "x"], [0, "x\0"],
         ["x" * 300, "EUR"], {"a": 1}, [[1]]]
    )
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


class Fuzz:
    """One process's share of the requests."""

    def __init__(self, arguments, number):
        self.parent = os.getppid()
        self.seed = arguments.seed + number
        self.chance = random.Random(self.seed)
        self.limit = -(-arguments.requests // arguments.processes)
        self.deadline = time.monotonic() + arguments.seconds
        self.services = json.loads(os.environ["SERVICES"])
        self.address = f"198.51.100.{number + 1}"
        users = self.services[DESCRIPTIONS[0]]
        self.people = {role: Person.register(users, self.address, role) for role in ("attendee", "organizer")}
        self.people["admin"] = Person(users, self.address, os.environ["ADMIN_EMAIL"], os.environ["ADMIN_PASSWORD"])
        for person in self.people.values():
            person.log_in()
        self.known = Known(self.services, self.people)
        self.session = requests.Session()
        self.sent, self.statuses, self.failures, self.routes = 0, Counter(), {}, set()

    def run(self):
        operations = []
        for path, service in self.services.items():
            schema = schemathesis.openapi.from_dict(requests.get(service + path, timeout=PATIENCE).json())
            operations += [(service, operation.ok()) for operation in schema.get_all_operations()]
        self.routes = {operation.label for _, operation in operations}
        try:
            while True:
                self.chance.shuffle(operations)
                for service, operation in operations:
                    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                        self.batch(service, operation, mode)
        except Over:
            return {
                "sent": self.sent, "statuses": self.statuses, "failures": self.failures, "routes": self.routes,
            }

    def batch(self, service, operation, mode):
        """A dozen generated requests to one route."""

        @hypothesis.seed(self.chance.getrandbits(32))
        @hypothesis.settings(
            max_examples=BATCH, database=None, deadline=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def send(case):
            self.send(service, operation, case)

        try:
            send()
        except (HypothesisException, unittest.SkipTest):
            # A route without anything to be wrong about has no negative requests.
            pass

    def send(self, service, operation, case):
        if self.sent >= self.limit or time.monotonic() >= self.deadline or os.getppid() != self.parent:
            raise Over
        headers = self.overlay(operation, case)
        try:
            wanted = case.as_transport_kwargs(base_url=service, headers=headers)
            answer = self.session.request(
                **{**wanted, "stream": True, "timeout": PATIENCE, "allow_redirects": False}
            )
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError, ValueError):
            # Nothing that can be sent.
            return
        except requests.exceptions.RequestException as error:
            self.sent += 1
            self.fail(operation, "no answer", f"{type(error).__name__}: {error}", case)
            return
        self.sent += 1
        self.statuses[answer.status_code] += 1
        with answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return
            answer.content  # noqa: B018, read to its end before it is closed
            self.judge(operation, case, answer)

    def overlay(self, operation, case):
        """Says who is asking, and puts something that exists in the place of made-up ids now and then."""
        chance = self.chance
        for name in list(case.path_parameters or {}):
            known = self.known.value(chance, operation.path, name)
            if known is not None and chance.random() < 0.6:
                case.path_parameters[name] = known
        if isinstance(case.body, dict):
            for name in ("event_id", "booking_id", "reservation_id"):
                known = self.known.value(chance, operation.path, name)
                if name in case.body and chance.random() < 0.6:
                    case.body[name] = known
        if case.query and "cursor" in case.query and chance.random() < 0.8:
            case.query["cursor"] = odd_cursor(chance)
        if operation.method.upper() == "PATCH" and operation.path == "/users/{id}":
            case.path_parameters["id"] = self.known.victim_id
        if operation.path == "/users/login":
            return from_address(f"203.0.113.{chance.randrange(255)}")
        return {**self.caller(operation), **from_address(self.address)}

    def caller(self, operation):
        internal = "reservations" in operation.path or "decrease_capacity" in operation.path
        who = self.chance.choice(["nobody", "garbage", "attendee", "organizer", "admin", "owner", "owner", "owner"])
        if internal and who in ("owner", "organizer"):
            with open(os.environ["SERVICE_TOKEN_FILE"], encoding="ascii") as file:
                return {"Authorization": f"Bearer {file.read()}"}
        if who == "nobody":
            return {}
        if who == "garbage":
            return {"Authorization": "Bearer a.b.c"}
        if who == "owner":
            organizers = operation.path.startswith(("/api", "/bookings/events", "/bookings/sales"))
            who = "organizer" if organizers else "admin" if operation.path.startswith("/users/{") else "attendee"
        return self.people[who].headers()

    def judge(self, operation, case, answer):
        try:
            case.validate_response(Response.from_requests(answer, verify=False), checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.fail(operation, failure.title, f"{answer.status_code} {failure.message}\n{answer.text[:600]}", case)
        except Failure as failure:
            self.fail(operation, failure.title, f"{answer.status_code} {failure.message}\n{answer.text[:600]}", case)

    def fail(self, operation, title, message, case):
        key = f"{operation.label}: {title}"
        if key not in self.failures:
            self.failures[key] = [0, f"{message}\n{case.as_curl_command()}"]
        self.failures[key][0] += 1


def share(arguments, number, results):
    warnings.simplefilter("ignore")
    results.put(Fuzz(arguments, number).run())


def check_descriptions(services):
    """Every description is OpenAPI 3.1 by its own rules, and every reference in it leads somewhere."""
    for path, service in services.items():
        description = requests.get(service + path, timeout=PATIENCE).json()
        if not str(description.get("openapi")).startswith("3.1."):
            raise SystemExit(f"fuzz: {path} is no OpenAPI 3.1: {description.get('openapi')}")
        faults = [f"{list(fault.path)}: {fault.message}" for fault in OpenAPIV31SpecValidator(description).iter_errors()]
        if faults:
            raise SystemExit(f"fuzz: {path} is not valid:\n" + "\n".join(faults[:10]))
        for target in references(description):
            if lookup(description, target) is None:
                raise SystemExit(f"fuzz: {path}: {target} leads nowhere")


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def lookup(description, target):
    place = description
    for part in target.removeprefix("#/").split("/"):
        place = place.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return place


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, required=True, help="how many to send")
    parser.add_argument("--seconds", type=int, required=True, help="how long to go on at most")
    parser.add_argument("--processes", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    services = json.loads(os.environ["SERVICES"])
    for service in services.values():
        if urlsplit(service).hostname != "127.0.0.1":
            raise SystemExit(f"fuzz: {service} is not on this machine")
    check_descriptions(services)

    print(f"fuzz: seed {arguments.seed}, {arguments.processes} processes", flush=True)
    began = time.monotonic()
    results = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=share, args=(arguments, number, results)) for number in range(arguments.processes)
    ]
    for worker in workers:
        worker.start()
    shares = []
    while len(shares) < len(workers):
        try:
            shares.append(results.get(timeout=5))
        except multiprocessing.queues.Empty:
            if any(worker.exitcode for worker in workers):
                raise SystemExit("fuzz: a process ended early; see above") from None
    for worker in workers:
        worker.join()
    sys.exit(report(shares, time.monotonic() - began))


def report(shares, seconds):
    failures = {}
    for each in shares:
        for key, (count, example) in each["failures"].items():
            failures.setdefault(key, [0, example])[0] += count
    for key, (count, example) in list(failures.items())[:MAX_PRINTED]:
        print(f"\nFAILED {count} times: {key}\n{example}")
    statuses = sum((each["statuses"] for each in shares), Counter())
    sent = sum(each["sent"] for each in shares)
    errors = sum(count for status, count in statuses.items() if status >= 500)
    wrong = sum(count for count, _ in failures.values())
    routes = len(set.union(*(each["routes"] for each in shares)))
    print("\nanswers by status: " + ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    print(f"fuzz: {sent} requests to {routes} routes in {seconds:.0f} s, {errors} answers 5xx, {wrong} not as described")
    return 1 if wrong or errors or not sent else 0


if __name__ == "__main__":
    main()
