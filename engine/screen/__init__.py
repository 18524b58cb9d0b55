"""The screen of ``run`` on a terminal and of ``status --watch``: the fleet, one account, one record explained.

It is drawn with Rich, which is here already, and not with Textual. The screen is a guest in the process that keeps the
accounts connected, and that decides:

- **A terminal that takes nothing must not hold the engine**: Ctrl+S, a suspended ssh, a scrolled tmux. Textual's writer
  has a queue of 30 texts and blocks the event loop when it is full. Here the terminal is opened anew without blocking,
  the loop waits until it takes more, and pictures that would have come meanwhile are left out.
- **Signals belong to** ``engine/app/run.py``: Ctrl+C is the orderly stop, a second one leaves at once. Textual switches
  the terminal's signals off, makes Ctrl+C a key and installs handlers of its own. Here the terminal keeps its signals;
  only Ctrl+Z is taken, to give the terminal back in order.
- **Cost.** A picture has as many rows as the terminal, with ten thousand accounts as with ten, and of it only the lines
  that changed are written, which is what counts over ssh. Nothing is drawn while nothing changes, but for the times in
  it, once a second. Textual would add its own import to each start, and a thread, tasks and a tree of widgets.
- **Little is needed**: a list, a page of text, a line to type in. The keys of every terminal and multiplexer fit a
  table; what is pasted is told apart from what is typed, for a pasted ``p`` must not pause an account.

What would speak for Textual, many kinds of widgets, mouse and themes, is not wanted here: ``web`` has the page.

``model.py`` is pure: what is chosen and what a key changes. ``layout.py`` makes lines of it, ``terminal.py`` writes
them and hears keys (``keys.py``), ``screen.py`` brings them together, and ``source.py`` says what is shown. The screen
takes the terminal's alternate page; at the end the last picture of all accounts stays on the usual one. Where stdin is
no terminal, there are no keys, and the worst accounts are shown. In the background the screen waits to be called back.
"""
