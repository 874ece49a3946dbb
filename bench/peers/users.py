"""The user service: FastAPI over PostgreSQL."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Literal

import httpx
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, EmailStr, Field
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

import tokens

# One statement a request needs no BEGIN and COMMIT around it.
database = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgres://", "postgresql+asyncpg://"),
    isolation_level="AUTOCOMMIT",
    pool_size=8,
    max_overflow=0,
)
INSERT = text(
    "insert into users (email, password_hash, name, role) values (:email, :password_hash, :name, :role) returning id"
)
FIND = text("select id, role, password_hash from users where email = :email")

# The platform hashes with the same parameters.
hasher = PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
hashing = ThreadPoolExecutor(max_workers=os.cpu_count())


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with httpx.AsyncClient(base_url=os.environ["EVENT_SERVICE_URL"], trust_env=False) as client:
        app.state.event_service = client
        yield


app = FastAPI(lifespan=lifespan, telemetry={"tracing": False, "metrics": False, "logs": False})


class Registration(BaseModel):
    email: EmailStr
    password: str = Field(min_length=8, max_length=256)
    name: str = Field(min_length=1, max_length=200)
    role: Literal["attendee", "organizer"] = "attendee"


class User(BaseModel):
    id: int
    email: str
    name: str
    role: str


class Credentials(BaseModel):
    email: str
    password: str


class Session(BaseModel):
    access_token: str
    token_type: str = "Bearer"
    expires_in: int = tokens.LIFETIME_SECONDS


async def in_hashing_pool(function, *arguments):
    return await asyncio.get_running_loop().run_in_executor(hashing, function, *arguments)


@app.post("/users/register", status_code=201)
async def register(new: Registration) -> User:
    password_hash = await in_hashing_pool(hasher.hash, new.password)
    row = {"email": new.email, "password_hash": password_hash, "name": new.name, "role": new.role}
    try:
        async with database.connect() as connection:
            user_id = (await connection.execute(INSERT, row)).scalar_one()
    except IntegrityError as error:
        raise HTTPException(409, "email_taken") from error
    return User(id=user_id, email=new.email, name=new.name, role=new.role)


@app.post("/users/login")
async def login(given: Credentials) -> Session:
    async with database.connect() as connection:
        user = (await connection.execute(FIND, {"email": given.email})).one_or_none()
    if user is None:
        raise HTTPException(401, "invalid_credentials")
    try:
        await in_hashing_pool(hasher.verify, user.password_hash, given.password)
    except VerifyMismatchError as error:
        raise HTTPException(401, "invalid_credentials") from error
    return Session(access_token=tokens.issue(user.id, user.role))


@app.get("/users/events")
async def list_events(request: Request) -> Response:
    answer = await request.app.state.event_service.get("/api/events", params=request.query_params)
    return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])
