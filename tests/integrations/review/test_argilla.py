"""The records for Argilla, logged by its client to a server that only records the request."""

from __future__ import annotations

import json
from uuid import UUID

import httpx
import pytest

from rrm_review import ARGILLA_MAPPING, to_argilla
from support.issue_tables import CLASSES, GIVEN, HOSTILE, PREDICTED, issue_table

TEXTS = ["text 0", "text 1", "text 2", HOSTILE]
ID = str(UUID(int=1))
TIMES = {"inserted_at": "2024-01-01T00:00:00", "updated_at": "2024-01-01T00:00:00"}


class ReceivedError(Exception):
    """Raised with the items of a request that logs records."""


def answer(request):
    if request.url.path == "/api/v1/me":
        return httpx.Response(200, json={"id": ID, "username": "user", "role": "owner", "first_name": "a", **TIMES})
    assert request.url.path == f"/api/v1/datasets/{ID}/records/bulk"
    raise ReceivedError(json.loads(request.content)["items"])


def test_client_sends_texts_given_labels_and_suggestions(monkeypatch):
    # Here, since the import warns.
    import argilla

    monkeypatch.setattr(httpx, "HTTPTransport", lambda **_: httpx.MockTransport(answer))
    client = argilla.Argilla(api_url="http://localhost", api_key="key")
    settings = argilla.Settings(
        fields=[argilla.TextField(name="text"), argilla.TextField(name="given_label")],
        questions=[argilla.LabelQuestion(name="label", labels=list(CLASSES))],
    )
    workspace = argilla.Workspace(name="workspace", id=UUID(ID), client=client)
    dataset = argilla.Dataset(name="issues", settings=settings, client=client, workspace=workspace)
    dataset.id = UUID(ID)
    issues = issue_table(order="index")
    with pytest.raises(ReceivedError) as received:
        dataset.records.log(to_argilla(issues, TEXTS), mapping=ARGILLA_MAPPING)
    (items,) = received.value.args
    assert [item["external_id"] for item in items] == ["0", "1", "2", "3"]
    assert [item["fields"] for item in items] == [
        {"text": text, "given_label": label} for text, label in zip(TEXTS, GIVEN, strict=True)
    ]
    suggestions = [item["suggestions"][0] for item in items]
    assert [suggestion["question_name"] for suggestion in suggestions] == ["label"] * 4
    assert [suggestion["value"] for suggestion in suggestions] == PREDICTED
    assert [suggestion["score"] for suggestion in suggestions] == [0.75, 0.5, 1, 0.25]
    assert {suggestion["agent"].split()[0] for suggestion in suggestions} == {"rrm-core"}
