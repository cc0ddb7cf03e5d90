"""The ops console: pages for those who run the shop, written by the server.

app.py           the pages' application, mounted under /console, and its errors
session.py       who looks: the token in a cookie, and the proof that a form is ours
forms.py         what each form that asks for something has: a reason, and an id
pages.py         templates, and what every page is told
words.py         times, ages and money as people read them
sequence.py      an order's messages as a sequence diagram
routes/          one module for each entry of the navigation
static/          style sheet and scripts; htmx is vendored with its licence

It shows and does what the JSON API does, by the same functions. No build step; without scripts
everything works but the updates by themselves.
"""
