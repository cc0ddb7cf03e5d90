"""An SMTP server that delivers nothing and shows what it got, for the stack without containers.

`GET /` is a page for people, `GET /mails` the same as JSON, newest first, `?about=` with only
those that hold a text, such as an order's id; `GET /mails/{id}` shows the HTML of one mail,
`DELETE /mails` forgets all. A recipient whose address begins with `refused` is refused for good, as
a server refuses somebody whom it does not know. Everything is in memory.
"""
