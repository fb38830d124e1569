"""What a hand does to the total-scattering dashboard, and what it then shows."""

import numpy as np

from batlab import pdf


def data(workbench, name):
    return workbench.screen.source(name).data


def pixels(workbench):
    return data(workbench, "map_image")["image"][0]


def drag(workbench, name, *ends):
    """Drag something as the browser does: it moves, and a source tells where a hand has put it."""
    part, hand = workbench.screen.part(name), workbench.screen.hands[name]
    sides = ("location",) if len(ends) == 1 else ("left", "right")
    changes = [(part, side, end) for side, end in zip(sides, ends, strict=True)]
    for model, attr, new in [*changes, (hand, "data", {"type": "map", "entries": [["ends", list(ends)]]})]:
        content = {"event": "jsevent", "kind": "ModelChanged", "model": {"id": model.id}, "attr": attr, "new": new}
        workbench.view._sync_model(workbench.view, content, [])


def send(workbench, event, view=None):
    """Hand an event to the figure as the browser does."""
    assert event.event_name in event.model.subscribed_events  # else the browser keeps it to itself
    entries = [["model", {"id": event.model.id}]]
    for name, value in vars(event).items():
        if name not in ("model", "modifiers"):
            told = {"type": "map", "entries": list(map(list, value.items()))} if isinstance(value, dict) else value
            entries.append([name, told])
    message = {"type": "event", "name": event.event_name, "values": {"type": "map", "entries": entries}}
    content = {"event": "jsevent", "kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": message}
    view = view or workbench.view
    view._sync_model(view, content, [])


def made(series, empty, **settings):
    return pdf.g_of_r(series, "Ni", background=empty, **settings)


def run(workbench, series, empty):
    names = {"series": series, "store": workbench.store, "background": empty}
    exec(workbench.code().replace("bl.dashboards.show(screen)", ""), names)
    return names


def assert_same_screen(workbench, names):
    for plot in names["curves"]:
        for line in plot.renderers:
            if line.name.endswith("_y"):
                for column, values in line.data_source.data.items():
                    np.testing.assert_allclose(values, data(workbench, line.name)[column], atol=2e-6, rtol=1e-6)
    drawn, shown = names["heat"].select_one({"name": "map_image"}).data_source.data, data(workbench, "map_image")
    np.testing.assert_array_equal(drawn["image"][0], shown["image"][0])
    assert [drawn[key] for key in ("x", "y", "dw", "dh")] == [shown[key] for key in ("x", "y", "dw", "dh")]
