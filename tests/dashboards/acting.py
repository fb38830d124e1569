"""What tests do with a dashboard of several techniques: look at its data, tell it of an event, run its script."""

import warnings


def data_of(dashboard, name):
    return dashboard.screen.part(name).data_source.data


def trigger(plot, event, **given):
    assert event.event_name in plot.subscribed_events  # else the browser keeps it to itself
    plot._trigger_event(event(plot, **given))


def run(dashboard, **names):
    """Run what `code` says and return its names."""
    space = dict(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(dashboard.code().replace("bl.dashboards.show(", "_shown = ("), space)
    return space
