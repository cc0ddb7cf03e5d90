"""Commands of product administration: sent to inventory, answered when inventory has done it."""

from pydantic import BaseModel

from contracts.inventory import AdjustStock, ProductCommandDone, PutProduct, RemoveProduct
from contracts.message import new_message_id
from services.gateway.answers import Answer
from services.gateway.channels import COMMAND_ANSWERED
from services.gateway.gateway import Gateway
from services.gateway.idempotency import KeyedRequest, claim, remember
from services.kit.auth import Caller
from services.kit.problems import problem_body, unavailable

_ANSWERED_WITHIN_SECONDS = 10.0
"""How long a person is kept waiting for inventory."""
_STATUS_OF_PROBLEM = {"not_found": 404, "conflict": 409}


async def have_inventory_do(
    gateway: Gateway,
    caller: Caller,
    command: PutProduct | RemoveProduct | AdjustStock,
    body: BaseModel,
    key: str | None,
) -> Answer:
    """Send the command, once per key if there is one, and wait for inventory's answer.

    200 with the product, 404 or 409 with the reason.

    Raises:
        ApiProblem: 503 when inventory did not answer in time; it will do the command later, and
            a repeat under the same key asks for that answer instead of sending it again.
    """
    request = (
        KeyedRequest.of(caller.customer_id, key, f"{command.wire_type} {command.key}", body)
        if key is not None
        else None
    )
    command_id = new_message_id()
    async with gateway.service.transaction(publish="later") as work:
        earlier = await claim(work, request, command_id) if request else None
        if earlier is None:
            work.send(command, message_id=command_id)
    if isinstance(earlier, Answer):
        return earlier
    command_id = earlier or command_id
    with gateway.hub.listen(COMMAND_ANSWERED, command_id) as listener:
        document = await listener.next(_ANSWERED_WITHIN_SECONDS)
    if document is None:
        raise unavailable("Inventory has not answered yet; it may still do what was asked")
    answer = _answer(ProductCommandDone.model_validate_json(document))
    if request is None:
        return answer
    return await remember(gateway.service.pool, request, command_id, answer)


def _answer(done: ProductCommandDone) -> Answer:
    if done.problem is not None:
        status = _STATUS_OF_PROBLEM.get(done.problem.code, 409)
        return Answer(status, problem_body(status, done.problem.message, errors=[done.problem]))
    return Answer(200, done.product.model_dump(mode="json") if done.product else {})
