"""Moving from Twilio TaskRouter: its workflows as our rules, with a plain word on what does not go over."""

from hub.taskrouter.workflow import Imported, WorkflowError, import_workflow

__all__ = ["Imported", "WorkflowError", "import_workflow"]
