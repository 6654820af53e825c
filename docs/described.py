"""What a person has to say of the paths of the admin servers, and of the kinds of events.

A path or a kind without words, and words without one, are an error: see `named` in generate.py.
"""

PATHS = {
    "GET /": "the dashboard",
    "GET /metrics": "metrics for Prometheus: text, or OpenMetrics with exemplars if it is asked for",
    "GET /healthz": "200 while the process lives",
    "GET /readyz": "200 when it is ready, 503 with the reason when it is not, as while it stops",
    "POST /v1/report": "an agent's [report](report.md); the answer is the instance's plan",
    "GET /v1/instances": "every instance: state, workers, what is held, why it gets requests or none",
    "GET /v1/classes": "every class: what it costs, its lane, its home, when workers are free",
    "GET /v1/plan": "lanes, caps, dedicated instances, versions, each with the reason",
    "GET /v1/explain?method=&host=&path=&header=": "what would become of such a request now, and why; `header=Name:%20value`"
    " any number of times",
    "GET /v1/events": "[events](events.md), as server-sent events: the last 500, then those that come",
    "GET /v1/live": "what the dashboard shows, as server-sent events",
    "GET /v1/decisions?service=&n=": "the planner's last decisions, for `sluice-balancer replay`",
    "GET /v1/reloads": "since when the configuration is in force, and what became of the last attempt to read it again",
    "POST /v1/instances/NAME/drain": "nothing new is sent there; `?service=` if the name is used twice",
    "POST /v1/instances/NAME/ready": "takes drain and maintenance back",
    "POST /v1/instances/NAME/maintenance": "as drain, until it is taken back, even if the instance registers anew",
    "POST /v1/instances/NAME/unbind": "frees the name for an agent at another address, at once",
    "GET /v1/status": "state, workers, what the last window measured, how reports went",
    "POST /v1/drain": "asks the balancers to send nothing new; the process goes on",
    "POST /v1/observe": "mode passive: the application tells what it did",
}

EVENTS = {
    "agent-restarted": "an agent has started anew under the name of an instance that is known",
    "class-large": "a class is large from now on, and why",
    "class-small": "a class is small again",
    "configuration-applied": "the configuration was read again and is in force; what needs a restart is named",
    "configuration-refused": "the configuration was read again and can not be used; the one before stays",
    "homes": "classes are kept at their homes, as that is measured to pay, or are not any more",
    "instance-ejected": "an instance gets no requests for a while, as it fails what others do not",
    "instance-gone": "an instance is forgotten: it left, its agent was silent for too long, or the configuration or a source lost it",
    "instance-recovered": "an instance is no slower than its fellows any more",
    "instance-registered": "an instance is known from now on",
    "instance-reinstated": "an instance that was left out gets requests again",
    "instance-slow": "an instance is slower than its fellows with the same classes, and used last",
    "instance-state": "an instance gets requests, or none, and why",
    "interference": "large requests slow down small ones beside them, or do not any more",
    "operator": "somebody said drain, ready or maintenance, or freed a name",
    "overload": "requests of a lane are turned away from now on",
    "overload-over": "none were turned away for ten seconds; how many there were",
    "plan": "what the planner changed: lanes, caps, dedicated instances, homes",
    "version-moved": "requests go to another version of the application",
}
